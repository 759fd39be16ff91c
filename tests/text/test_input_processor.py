"""From a prompt to a valid engine request, and every way of refusing one."""

import dataclasses

import pytest

from gradus.errors import ContextOverflowError, InvalidRequestError
from gradus.messages import ThinkingBudget
from gradus.sampling_params import SamplingParams
from gradus.structured_outputs import StructuredOutputsParams
from gradus.text.input_processor import InputProcessor
from tests.server.chat_templates import tokenizer_for


@pytest.fixture
def processor(byte_level):
    return InputProcessor(byte_level, eos_token_ids=frozenset({2}), max_model_len=64, vocab_size=512, seed=7)


def test_text_and_token_ids_become_the_same_request(processor, byte_level):
    ids = byte_level.encode("Hello, world!")
    params = SamplingParams(max_tokens=5, seed=3, stop_token_ids=[9])
    by_text = processor.process("a", "Hello, world!", params, priority=-4)
    by_ids = processor.process("a", ids, params, priority=-4)
    assert by_text == by_ids
    assert by_text.prompt_token_ids == ids
    assert by_text.max_tokens == 5
    assert by_text.seed == 3
    assert by_text.priority == -4
    assert by_text.eos_token_ids == {2}


def test_defaults_are_resolved(processor):
    request = processor.process("a", [5] * 10, SamplingParams(max_tokens=None, ignore_eos=True))
    assert request.max_tokens == 54
    assert request.eos_token_ids == frozenset()
    assert 0 <= request.seed < 2**63


def test_seeds_differ_between_requests_and_repeat_with_the_processors_seed(byte_level):
    def seeds(seed):
        limits = {"eos_token_ids": frozenset(), "max_model_len": 64, "vocab_size": 512}
        one = InputProcessor(byte_level, seed=seed, **limits)
        return [one.process(str(i), [1], SamplingParams()).seed for i in range(20)]

    assert seeds(7) == seeds(7) != seeds(8)
    assert len(set(seeds(7))) == 20
    assert seeds(None) != seeds(None)


@pytest.mark.parametrize(
    ("num_prompt_tokens", "max_tokens", "says"),
    [
        (
            60,
            5,
            "60 tokens and max_tokens is 5, together 65; this model's context is 64. Lower max_tokens to 4",
        ),
        (
            64,
            None,
            "has 64 tokens; this model's context is 64. Shorten the prompt: a prompt may have at most 63",
        ),
        (100, 1, "has 100 tokens; this model's context is 64"),
    ],
)
def test_an_overflow_names_the_numbers_and_the_way_out(processor, num_prompt_tokens, max_tokens, says):
    with pytest.raises(ContextOverflowError) as caught:
        processor.process("a", [1] * num_prompt_tokens, SamplingParams(max_tokens=max_tokens))
    assert says in str(caught.value)


def test_the_context_can_be_filled_to_the_last_token(processor):
    assert processor.process("a", [1] * 60, SamplingParams(max_tokens=4)).max_tokens == 4
    assert processor.process("a", [1] * 63, SamplingParams(max_tokens=None)).max_tokens == 1


@pytest.mark.parametrize("prompt", [[512], [-1], [1, 2**70], [True], [1.0], ["a"], [None]])
def test_ids_outside_the_vocabulary_are_refused(processor, prompt):
    with pytest.raises(InvalidRequestError, match="from 0 to 511") as caught:
        processor.process("a", prompt, SamplingParams())
    assert caught.value.param == "prompt"


@pytest.mark.parametrize("prompt", ["", []])
def test_an_empty_prompt_is_refused(processor, prompt):
    with pytest.raises(InvalidRequestError, match="at least one token"):
        processor.process("a", prompt, SamplingParams())


def test_stop_token_ids_and_priorities_out_of_range_are_refused(processor):
    with pytest.raises(InvalidRequestError, match="stop_token_ids has 512"):
        processor.process("a", [1], SamplingParams(stop_token_ids=[3, 512]))
    for priority in (2**31, 1.5, True, "high"):
        with pytest.raises(InvalidRequestError, match="priority is"):
            processor.process("a", [1], SamplingParams(), priority=priority)


def test_a_tokenizer_larger_than_its_model_is_found_out(byte_level):
    small = InputProcessor(byte_level, eos_token_ids=frozenset(), max_model_len=64, vocab_size=100)
    with pytest.raises(InvalidRequestError, match="do not belong together"):
        small.process("a", "hello there", SamplingParams())


def test_messages_are_rendered_and_a_model_without_template_says_so(processor, byte_level):
    text = processor.render_chat([{"role": "user", "content": "Hi"}])
    assert text.startswith("<|im_start|>user\nHi<|im_end|>")
    assert processor.process("a", text, SamplingParams(), add_special_tokens=False).prompt_token_ids[0] == 1
    bare = type(byte_level)(byte_level._read)
    without = InputProcessor(bare, eos_token_ids=frozenset(), max_model_len=64, vocab_size=512)
    with pytest.raises(InvalidRequestError, match="no chat template"):
        without.render_chat([{"role": "user", "content": "Hi"}])


def test_requests_are_values(processor):
    request = processor.process("a", [1], SamplingParams(seed=1))
    with pytest.raises(dataclasses.FrozenInstanceError):
        request.seed = 2


@pytest.mark.parametrize(
    ("params", "param", "says"),
    [
        ({"logit_bias": {3: 1, 512: 1}}, "logit_bias", "logit_bias has 512; ids of this model"),
        ({"allowed_token_ids": [1, 900]}, "allowed_token_ids", "allowed_token_ids has 900"),
        ({"min_tokens": 6, "max_tokens": 5}, "min_tokens", "min_tokens is 6; it must be at most max_tokens"),
        ({"min_tokens": 64, "max_tokens": None}, "min_tokens", "max_tokens, which is 63"),
        ({"bad_words": [" \t "]}, "bad_words", "is no token"),
    ],
)
def test_sampling_that_cannot_work_with_the_model_is_refused(processor, params, param, says):
    with pytest.raises(InvalidRequestError, match=says) as refused:
        processor.process("a", [1], SamplingParams(**params))
    assert refused.value.param == param


def test_bad_words_are_forbidden_at_the_start_and_after_a_space(processor, byte_level):
    request = processor.process("a", [1], SamplingParams(bad_words=["  the", "zq", "zq"]))
    encode = byte_level.encode
    expected = [encode("the"), encode(" the"), encode("zq"), encode(" zq")]
    assert request.bad_words[0] == tuple(expected[0])
    assert len(expected[2]) != len(expected[3])  # whatever the numbers of tokens
    assert set(request.bad_words) == set(map(tuple, expected))
    assert len(set(request.bad_words)) == len(request.bad_words)


def test_min_tokens_puts_off_every_end_even_an_ignored_one(processor):
    put_off = processor.process("a", [1], SamplingParams(min_tokens=2, stop_token_ids=[9], ignore_eos=True))
    assert put_off.delayed_token_ids == (2, 9)
    assert processor.process("a", [1], SamplingParams(stop_token_ids=[9])).delayed_token_ids == ()


def test_the_models_limit_holds_where_a_request_has_none(byte_level):
    limits = {"eos_token_ids": {2}, "max_model_len": 64, "vocab_size": 512, "max_new_tokens": 20}
    processor = InputProcessor(byte_level, **limits)
    for num_prompt, max_tokens, resolved in [(10, None, 20), (50, None, 14), (10, 30, 30)]:
        params = SamplingParams(max_tokens=max_tokens)
        assert processor.process("a", [1] * num_prompt, params).max_tokens == resolved


def test_a_decoder_that_puts_spaces_itself_cannot_be_told_not_to(processor, word_piece):
    unspaced = SamplingParams(skip_special_tokens=False, spaces_between_special_tokens=False)
    processor.process("a", [1], unspaced)
    window = InputProcessor(word_piece, eos_token_ids=(), max_model_len=64, vocab_size=512)
    with pytest.raises(InvalidRequestError, match="only true works"):
        window.process("a", [1], unspaced)
    window.process("a", [1], SamplingParams(spaces_between_special_tokens=False))


def test_a_pooling_request_may_fill_the_context(processor):
    request = processor.process_pooling("a", [1] * 64, "mean")
    assert (request.max_tokens, request.pooling) == (0, "mean")
    with pytest.raises(ContextOverflowError, match="65 tokens; this model's context is 64"):
        processor.process_pooling("a", [1] * 65, "last")


def thinking_processor(*marks):
    tokenizer = tokenizer_for("", *marks)
    return InputProcessor(tokenizer, eos_token_ids={2}, max_model_len=64, vocab_size=512)


@pytest.mark.parametrize(
    ("prompt", "is_open"),
    [
        ("a<think>", True),
        ("a<think>\n \n", True),
        ("a<think>b", False),
        ("<think>\n\n</think>\n\n", False),
        ("a", False),
    ],
)
def test_a_budget_of_thinking_begins_where_the_prompt_ends(prompt, is_open):
    processor = thinking_processor("<think>", "</think>")
    request = processor.process("a", prompt, SamplingParams(thinking_token_budget=9))
    tokenizer = processor.tokenizer
    assert request.thinking == ThinkingBudget(
        num_tokens=9,
        opening_id=tokenizer.token_id("<think>"),
        closing_id=tokenizer.token_id("</think>"),
        is_open=is_open,
    )
    assert processor.process("a", prompt, SamplingParams()).thinking is None


def test_a_budget_of_thinking_that_could_not_be_kept_is_refused():
    params = SamplingParams(thinking_token_budget=9)
    with pytest.raises(InvalidRequestError, match="no tokens <think> and </think>") as caught:
        thinking_processor().process("a", "b", params)
    assert caught.value.param == "thinking_token_budget"
    processor = thinking_processor("<think>", "</think>")
    closing = processor.tokenizer.token_id("</think>")
    params.allowed_token_ids = [1, 2]
    with pytest.raises(InvalidRequestError, match=f"allowed_token_ids leaves out {closing}"):
        processor.process("a", "b", params)
    params.allowed_token_ids = [1, 2, closing]
    assert processor.process("a", "b", params).thinking is not None
    params.structured_outputs = StructuredOutputsParams(choice=["x"])
    with pytest.raises(InvalidRequestError, match=r"structured_outputs\.choice holds for the whole text"):
        processor.process("a", "b", params)
