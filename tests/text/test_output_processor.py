"""Updates to text: stop strings, held-back characters, logprobs, counts; the same however updates are cut."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradus.messages import RequestUpdate, TokenLogprobs
from gradus.outputs import RequestMetrics
from gradus.sampling_params import SamplingParams
from gradus.text.output_processor import RequestState

EOS = 2


def state_for(tokenizer, **params):
    return RequestState("r", "prompt", [1, 2, 3], SamplingParams(**params), tokenizer)


def update(ids, choice=0, finish=None, stop=None, **more):
    return RequestUpdate(
        request_id="r", choice_index=choice, new_token_ids=ids, finish_reason=finish, stop_reason=stop, **more
    )


def run(state, chunks, finish="length"):
    """Feed the chunks; returns all deltas until the choice ends."""
    deltas = []
    for i, chunk in enumerate(chunks):
        deltas.append(state.apply(update(chunk, finish=finish if i == len(chunks) - 1 else None)))
        if deltas[-1].finish_reason is not None:
            break
    return deltas


def test_text_arrives_in_deltas_and_ends_with_the_reason(byte_level):
    ids = byte_level.encode("你好, world")
    state = state_for(byte_level, max_tokens=50)
    deltas = run(state, [[i] for i in ids])
    assert "".join(d.text for d in deltas) == "你好, world"
    assert [d.finish_reason for d in deltas] == [None] * (len(ids) - 1) + ["length"]
    output = state.output()
    assert output.finished
    assert output.outputs[0].text == "你好, world"
    assert output.outputs[0].token_ids == ids
    assert output.outputs[0].finish_reason == "length"
    assert output.prompt_token_ids == [1, 2, 3]
    assert state.take_choices_to_abort() == []


def test_the_token_that_ends_a_choice_is_counted_but_not_text(byte_level):
    hello = byte_level.encode("Hello")
    state = state_for(byte_level)
    state.apply(update([*hello, EOS], finish="stop"))
    assert state.output().outputs[0].text == "Hello"
    assert state.output().outputs[0].token_ids == [*hello, EOS]
    assert state.output().outputs[0].stop_reason is None
    by_id = state_for(byte_level)
    end = byte_level.encode("!")[0]
    by_id.apply(update([*hello, end], finish="stop", stop=end))
    assert by_id.output().outputs[0].text == "Hello"
    assert by_id.output().outputs[0].stop_reason == end


def test_a_stop_string_ends_the_choice_and_asks_for_its_abort(byte_level):
    ids = byte_level.encode("one two three four")
    state = state_for(byte_level, stop=["three"])
    deltas = run(state, [[i] for i in ids])
    assert "".join(d.text for d in deltas) == "one two "
    assert deltas[-1].finish_reason == "stop"
    assert deltas[-1].stop_reason == "three"
    assert state.take_choices_to_abort() == [0]
    assert state.take_choices_to_abort() == []
    kept = state.output().outputs[0].token_ids
    assert byte_level.decode(kept) == "one two three"
    late = state.apply(update(byte_level.encode(" five"), finish="abort"))
    assert (late.text, late.token_ids, late.finish_reason) == ("", [], None)
    assert state.num_generated_tokens == len(kept)
    assert state.output().outputs[0].finish_reason == "stop"


def test_a_stop_string_in_the_engines_last_update_needs_no_abort(byte_level):
    state = state_for(byte_level, stop="three")
    state.apply(update(byte_level.encode("one two three four"), finish="length"))
    assert state.output().outputs[0].finish_reason == "stop"
    assert state.output().outputs[0].text == "one two "
    assert state.take_choices_to_abort() == []


def test_what_was_held_back_comes_out_at_the_end(byte_level):
    state = state_for(byte_level, stop=["abcd"])
    first = state.apply(update(byte_level.encode("xabc")))
    assert first.text == "x"
    assert state.apply(update(byte_level.encode("龘")[:2], finish="length")).text == "abc\ufffd"


@settings(max_examples=200)
@given(
    ids=st.lists(st.integers(3, 425), min_size=1, max_size=40),
    stop=st.lists(st.text(alphabet="abeo 你�", min_size=1, max_size=3), max_size=3),
    cuts=st.lists(st.integers(0, 40), max_size=12),
    finish=st.sampled_from(["length", "stop"]),
)
def test_the_result_does_not_depend_on_how_updates_are_cut(byte_level, ids, stop, cuts, finish):
    def result(chunks):
        state = state_for(byte_level, stop=stop)
        streamed = "".join(d.text for d in run(state, chunks, finish))
        out = state.output().outputs[0]
        assert streamed == out.text
        return out.text, out.token_ids, out.finish_reason, out.stop_reason

    edges = [0, *sorted({min(cut, len(ids) - 1) for cut in cuts} - {0}), len(ids)]
    chunks = [ids[a:b] for a, b in itertools.pairwise(edges)]
    assert result(chunks) == result([[i] for i in ids])
    text = byte_level.decode(ids if finish == "length" else ids[:-1])
    ends = [(text.find(s) + len(s), -len(s), s) for s in stop if s in text]
    expected = text[: min(ends)[0] - len(min(ends)[2])] if ends else text
    assert result(chunks)[0] == expected


def test_logprobs_name_their_tokens_and_end_with_the_kept_ones(byte_level):
    ids = byte_level.encode("one two")
    entries = [TokenLogprobs(-0.5 * i, 1 + i, [(50, -0.1), (i_d, -0.5 * i)]) for i, i_d in enumerate(ids)]
    state = state_for(byte_level, stop=["e"], logprobs=2)
    delta = state.apply(update(ids, logprobs=entries))
    out = state.output().outputs[0]
    assert len(out.logprobs) == len(out.token_ids) == len(delta.logprobs) < len(ids)
    first = out.logprobs[0]
    assert list(first) == [ids[0], 50]
    assert first[ids[0]].rank == 1
    assert first[ids[0]].decoded_token == byte_level.token_text(ids[0])
    assert out.cumulative_logprob == pytest.approx(sum(e.logprob for e in entries[: len(out.token_ids)]))
    assert state_for(byte_level).output().outputs[0].logprobs is None


def test_choices_are_apart(byte_level):
    state = state_for(byte_level, n=2, stop=["!"])
    state.apply(update(byte_level.encode("a!"), choice=1))
    assert state.take_choices_to_abort() == [1]
    assert not state.finished
    metrics = RequestMetrics(queued_time=5.0)
    state.apply(update(byte_level.encode("b"), choice=0, finish="length", metrics=metrics))
    assert state.finished
    assert [choice.text for choice in state.output().outputs] == ["b", "a"]
    assert state.metrics is metrics


def test_an_error_is_handed_on(byte_level):
    state = state_for(byte_level)
    state.apply(update(byte_level.encode("part")))
    delta = state.apply(update([], finish="error", error="the backend failed"))
    assert (delta.finish_reason, delta.error) == ("error", "the backend failed")
    assert state.output().outputs[0].text == "part"
