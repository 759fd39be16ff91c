"""Beam search against an exhaustive one over transformers' probabilities, and its bookkeeping by hand."""

import itertools
import math

import pytest

from gradus import LLM, BeamSearchParams, SamplingParams, StructuredOutputsParams
from gradus.beam_search import BeamSearch
from gradus.errors import ContextOverflowError, InvalidRequestError

PROMPT = "The quick brown fox"


@pytest.fixture(scope="module")
def llm(tiny_model_path):
    with LLM(model=str(tiny_model_path), dtype="float32", max_model_len=128) as model:
        yield model


@pytest.fixture(scope="module")
def logprobs_after(tiny_model_path):
    """Token ids -> the next token's log probabilities by transformers."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model_path, dtype=torch.float32)

    def logprobs(token_ids):
        with torch.inference_mode():
            return model(torch.tensor([token_ids])).logits[0, -1].double().log_softmax(-1).tolist()

    return logprobs


def plain_search(prompt, width, max_tokens, penalty, ends, logprobs_after):
    """The definition, over the whole vocabulary: keep the best `width`, set aside what ends."""

    def score(beam):
        tokens, total = beam
        return total / (len(tokens) - (tokens[-1] in ends)) ** penalty

    live, completed = [(prompt, 0.0)], []
    for _ in range(max_tokens):
        grown = []
        for tokens, total in live:
            ranked = sorted(enumerate(logprobs_after(tokens)), key=lambda pair: -pair[1])[: 2 * width]
            for token, logprob in ranked:
                (completed if token in ends else grown).append(([*tokens, token], total + logprob))
        live = sorted(grown, key=score, reverse=True)[:width]
    return sorted(completed + live, key=score, reverse=True)[:width]


@pytest.mark.parametrize(
    ("width", "max_tokens", "penalty"), [(1, 6, 1.0), (3, 5, 1.0), (4, 4, 0.0), (12, 3, 2.0)]
)
def test_agrees_with_a_plain_search(llm, logprobs_after, width, max_tokens, penalty):
    params = BeamSearchParams(beam_width=width, max_tokens=max_tokens, length_penalty=penalty)
    (found,) = llm.beam_search(PROMPT, params)
    prompt = llm.get_tokenizer().encode(PROMPT)
    expected = plain_search(prompt, width, max_tokens, penalty, {2}, logprobs_after)
    assert [beam.tokens for beam in found.sequences] == [tokens for tokens, _ in expected]
    for beam, (tokens, total) in zip(found.sequences, expected, strict=True):
        assert beam.cum_logprob == pytest.approx(total, abs=1e-3)
        assert math.fsum(beam.logprobs) == pytest.approx(total, abs=1e-3)
        assert beam.text == llm.get_tokenizer().decode(tokens)
        assert beam.finish_reason == ("stop" if tokens[-1] == 2 else "length")


def test_a_wide_enough_search_is_exhaustive(llm, logprobs_after):
    """Two tokens with every first token kept that can matter: the best pair of all."""
    prompt = llm.get_tokenizer().encode(PROMPT)
    params = BeamSearchParams(beam_width=64, max_tokens=2, ignore_eos=True)
    (found,) = llm.beam_search({"prompt_token_ids": prompt}, params)
    first = logprobs_after(prompt)
    likely = sorted(range(len(first)), key=lambda token: -first[token])[:20]
    best = max(first[t] + max(logprobs_after([*prompt, t])) for t in likely)
    assert found.sequences[0].cum_logprob == pytest.approx(best, abs=1e-3)


def test_a_width_of_one_is_greedy_and_prompts_come_in_order(llm):
    prompts = [PROMPT, "Hello", "something else"]
    params = BeamSearchParams(beam_width=1, max_tokens=8, ignore_eos=True)
    greedy = llm.generate(prompts, SamplingParams(temperature=0, max_tokens=8, ignore_eos=True))
    for search, output in zip(llm.beam_search(prompts, params), greedy, strict=True):
        (beam,) = search.sequences
        assert beam.tokens == output.prompt_token_ids + output.outputs[0].token_ids


def test_what_ends_is_set_aside_and_competes_at_the_end():
    search = BeamSearch([7], BeamSearchParams(beam_width=2, max_tokens=2, length_penalty=0), {9})
    search.advance([[(1, -0.5), (9, -1.0), (2, -2.0)]])
    assert [beam.tokens for beam in search.live] == [[7, 1], [7, 2]]
    search.advance([[(1, -0.2), (3, -3.0)], [(1, -0.1), (9, -5.0)]])
    assert search.live == []
    assert [(beam.tokens, beam.finish_reason) for beam in search.result()] == [
        ([7, 1, 1], "length"),
        ([7, 9], "stop"),
    ]


def test_the_length_penalty_decides_between_short_and_long():
    def best(penalty):
        search = BeamSearch([7], BeamSearchParams(beam_width=1, max_tokens=3, length_penalty=penalty), {9})
        search.advance([[(9, -1.0), (1, -1.1)]])
        while search.live:
            search.advance([[(1, -0.2)]])
        return search.result()[0].tokens

    assert best(0.0) == [7, 9]
    assert best(5.0) == [7, 1, 1, 1]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *itertools.product(["beam_width"], [0, 65, 1.0, None, True]),
        *itertools.product(["max_tokens"], [0, None, "4"]),
        *itertools.product(["temperature"], [0.5, None, "0", False]),
        *itertools.product(["length_penalty"], [math.nan, 11, None]),
        ("ignore_eos", 1),
    ],
)
def test_parameters_are_refused_by_name(field, value):
    with pytest.raises(InvalidRequestError, match=f"{field} is ") as refused:
        BeamSearchParams(**{"beam_width": 2, "max_tokens": 4, field: value})
    assert refused.value.param == field


def test_prompts_are_refused_by_index_and_nothing_is_left_behind(llm):
    params = BeamSearchParams(beam_width=2, max_tokens=100)
    with pytest.raises(ContextOverflowError, match="prompt 1: "):
        llm.beam_search(["Hello", "a b c " * 30], params)
    stats = llm._runtime.core.stats()
    assert (stats.num_running, stats.num_waiting) == (0, 0)


def test_a_search_has_no_grammar():
    form = StructuredOutputsParams(regex="a")
    with pytest.raises(InvalidRequestError, match="beam search does not work with structured outputs"):
        BeamSearchParams(beam_width=1, max_tokens=1, structured_outputs=form)
