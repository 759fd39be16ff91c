"""The offline API: what vLLM's users expect of `LLM`, and what must never happen to their other requests."""

import itertools
import json

import pytest

from gradus import LLM, SamplingParams
from gradus.errors import (
    ConfigError,
    ContextOverflowError,
    InvalidRequestError,
    ModelNotFoundError,
    RequestFailedError,
)

GREEDY = SamplingParams(temperature=0, max_tokens=12)
PROMPTS = ["Hello", "The quick brown fox", "你好", "👍🏽"]


@pytest.fixture(scope="module")
def llm(tiny_model_path):
    with LLM(model=str(tiny_model_path), dtype="float32", max_model_len=256) as model:
        yield model


def test_outputs_come_in_the_prompts_order_with_their_prompts(llm):
    outputs = llm.generate(PROMPTS, GREEDY)
    assert [output.prompt for output in outputs] == PROMPTS
    for output in outputs:
        assert output.finished
        assert output.prompt_token_ids == llm.get_tokenizer().encode(output.prompt)
        (choice,) = output.outputs
        assert choice.finish_reason in ("length", "stop")
        assert len(choice.token_ids) == 12 or choice.finish_reason == "stop"
        assert choice.text == llm.get_tokenizer().decode(choice.token_ids)


def test_every_form_of_prompt_gives_the_same(llm):
    ids = llm.get_tokenizer().encode("Hello")
    forms = ["Hello", ids, {"prompt": "Hello"}, {"prompt_token_ids": ids}]
    results = [llm.generate(form, GREEDY)[0].outputs[0].token_ids for form in forms]
    results += [output.outputs[0].token_ids for output in llm.generate(forms, GREEDY)]
    assert all(result == results[0] for result in results)


def test_a_chat_is_its_rendered_prompt(llm):
    conversation = [{"role": "user", "content": "Hello"}]
    rendered = "<|im_start|>user\nHello<|im_end|><|im_start|>assistant\n"
    (answer,) = llm.chat(conversation, GREEDY)
    assert answer.prompt == rendered
    (plain,) = llm.generate(rendered, GREEDY)
    assert answer.outputs[0].token_ids == plain.outputs[0].token_ids
    assert len(llm.chat([conversation] * 3, GREEDY)) == 3
    assert llm.chat(conversation, GREEDY, chat_template="{{ messages[0].content }}")[0].prompt == "Hello"


def test_a_stream_adds_up_to_the_whole(llm):
    for prompt in PROMPTS:
        params = SamplingParams(temperature=0.8, seed=5, max_tokens=20, n=2)
        (whole,) = llm.generate(prompt, params)
        deltas = list(llm.stream(prompt, params))
        for choice in whole.outputs:
            own = [delta for delta in deltas if delta.index == choice.index]
            assert "".join(delta.text for delta in own) == choice.text
            assert [token for delta in own for token in delta.token_ids] == choice.token_ids


def test_streams_read_in_turn_do_not_disturb_each_other(llm):
    alone = [output.outputs[0].text for output in llm.generate(PROMPTS[:2], GREEDY)]
    texts = ["", ""]
    pairs = itertools.zip_longest(llm.stream(PROMPTS[0], GREEDY), llm.stream(PROMPTS[1], GREEDY))
    for pair in pairs:
        for i, delta in enumerate(pair):
            texts[i] += delta.text if delta else ""
    assert texts == alone


def test_leaving_a_stream_early_ends_its_request(llm):
    stream = llm.stream("Hello", SamplingParams(max_tokens=200, ignore_eos=True))
    next(stream)
    stream.close()
    llm.generate("Hello", GREEDY)
    assert llm._runtime.core.stats().num_running == 0
    llm._runtime.core.check_integrity()


def test_choices_of_one_seed_differ_and_the_seed_repeats_them(llm):
    params = SamplingParams(n=4, seed=3, temperature=1.5, max_tokens=16)
    first, second = (llm.generate("Hello", params)[0].outputs for _ in range(2))
    assert [choice.token_ids for choice in first] == [choice.token_ids for choice in second]
    assert len({tuple(choice.token_ids) for choice in first}) == 4


def test_a_stop_string_ends_the_text_before_it(llm):
    (whole,) = llm.generate("Hello", SamplingParams(temperature=0, max_tokens=40, ignore_eos=True))
    text = whole.outputs[0].text
    stop = text[len(text) // 2 :][:2]
    (stopped,) = llm.generate(
        "Hello", SamplingParams(temperature=0, max_tokens=40, ignore_eos=True, stop=[stop, "never there"])
    )
    (choice,) = stopped.outputs
    assert choice.text == text[: text.index(stop)]
    assert (choice.finish_reason, choice.stop_reason) == ("stop", stop)
    assert len(choice.token_ids) < 40


def test_times_and_counts_come_with_the_output(llm):
    metrics = llm.generate("The quick brown fox", GREEDY)[0].metrics
    assert metrics.queued_time <= metrics.first_scheduled_time <= metrics.first_token_time
    assert metrics.first_token_time <= metrics.finished_time
    prompt = llm.get_tokenizer().encode("The quick brown fox")
    assert metrics.num_computed_prompt_tokens + metrics.num_cached_prompt_tokens == len(prompt)
    assert metrics.num_preemptions == 0


def test_one_bad_prompt_is_named_and_the_engine_goes_on(llm):
    with pytest.raises(ContextOverflowError, match=r"prompt 1: .*256"):
        llm.generate(["Hello", [1] * 300, "Hello"], GREEDY)
    with pytest.raises(InvalidRequestError, match="prompt 0: the prompt is empty"):
        llm.generate(["", "Hello"], GREEDY)
    with pytest.raises(InvalidRequestError, match="there are 2 prompts and 1 sampling_params"):
        llm.generate(["Hello", "Hello"], [GREEDY])
    with pytest.raises(InvalidRequestError, match="prompt_tokens"):
        llm.generate({"prompt_tokens": [1]}, GREEDY)
    assert llm.generate("Hello", GREEDY)[0].finished
    assert not llm._runtime.core.stats().num_running


def test_a_failed_step_raises_with_all_outputs_and_the_engine_goes_on(llm, monkeypatch):
    right = llm._runtime.backend.execute
    monkeypatch.setattr(type(llm._runtime.backend), "execute", lambda self, batch: 1 / 0)
    with pytest.raises(RequestFailedError, match="ZeroDivisionError") as failed:
        llm.generate(["Hello", "Hello"], GREEDY)
    assert [output.outputs[0].finish_reason for output in failed.value.outputs] == ["error", "error"]
    with pytest.raises(RequestFailedError):
        list(llm.stream("Hello", GREEDY))
    monkeypatch.setattr(type(llm._runtime.backend), "execute", lambda self, batch: right(batch))
    assert llm.generate("Hello", GREEDY)[0].finished


def test_default_parameters_can_be_changed_in_place(llm):
    params = llm.get_default_sampling_params()
    params.max_tokens = 3
    params.temperature = 0.0
    assert len(llm.generate("Hello", params)[0].outputs[0].token_ids) <= 3


def test_unknown_models_and_options_are_refused_with_what_exists(tiny_model_path):
    with pytest.raises(ConfigError, match=r"no option 'tensor_parallel'.*max_model_len"):
        LLM(model=str(tiny_model_path), tensor_parallel=2)
    with pytest.raises(ModelNotFoundError, match="no such directory"):
        LLM(model="./no/such/directory")
    with pytest.raises(ConfigError, match=r"5,000.*1,024"):
        LLM(model=str(tiny_model_path), max_model_len=5000)


@pytest.mark.parametrize(
    "switch",
    [
        {"enable_prefix_caching": False},
        {"enable_chunked_prefill": False},
        {"batching": "static"},
        {"scheduling": "separated"},
        {"scheduling_policy": "priority"},
        {"enforce_eager": True},
        {"block_size": 64},
        {"num_threads": 1},
        {"max_num_batched_tokens": 7},
        {"max_num_seqs": 2},
        {"num_kv_blocks": 20},
        {"kv_layout": "contiguous"},
    ],
    ids=str,
)
def test_switches_leave_every_bit_as_it_is(llm, tiny_model_path, switch):
    params = SamplingParams(temperature=0.9, seed=11, max_tokens=16, logprobs=2)
    prompts = [*PROMPTS, "The quick brown fox jumps over the lazy dog. " * 3, PROMPTS[0]]
    options = {"dtype": "float32", "max_model_len": 256} | switch
    with LLM(model=str(tiny_model_path), **options) as switched:
        for right, other in zip(
            llm.generate(prompts, params), switched.generate(prompts, params), strict=True
        ):
            assert other.outputs == right.outputs


def test_naive_attention_agrees_closely(llm, tiny_model_path):
    params = SamplingParams(temperature=0, max_tokens=1, logprobs=20)
    options = {"dtype": "float32", "max_model_len": 256, "attention": "naive"}
    with LLM(model=str(tiny_model_path), **options) as switched:
        for right, other in zip(
            llm.generate(PROMPTS, params), switched.generate(PROMPTS, params), strict=True
        ):
            mine, its = right.outputs[0].logprobs[0], other.outputs[0].logprobs[0]
            assert mine.keys() == its.keys()
            for token, entry in mine.items():
                assert its[token].logprob == pytest.approx(entry.logprob, abs=1e-4)


def test_the_models_recommended_sampling_is_the_default(tiny_model_path, tmp_path):
    recommended = {"temperature": 0.5, "top_k": 4, "repetition_penalty": 1.1, "max_new_tokens": 30}
    (tmp_path / "generation_config.json").write_text(json.dumps(recommended))
    options = {"model": str(tiny_model_path), "dtype": "float32", "max_model_len": 64, "seed": 4}
    with LLM(**options, generation_config=str(tmp_path)) as llm:
        default = llm.get_default_sampling_params()
        assert (default.temperature, default.top_k, default.repetition_penalty) == (0.5, 4, 1.1)
        said = SamplingParams(temperature=0.5, top_k=4, repetition_penalty=1.1)
        unsaid = [output.outputs[0].token_ids for output in llm.generate(["Hello"] * 3)]
        no_limit = SamplingParams(max_tokens=None, ignore_eos=True)
        assert len(llm.generate([1] * 10, no_limit)[0].outputs[0].token_ids) == 30
        assert len(llm.generate([1] * 50, no_limit)[0].outputs[0].token_ids) == 14
    with LLM(**options, generation_config="vllm") as llm:
        assert llm.get_default_sampling_params() == SamplingParams()
        assert [output.outputs[0].token_ids for output in llm.generate(["Hello"] * 3, said)] == unsaid


def test_a_small_cache_shortens_the_context_and_says_so(tiny_model_path, caplog):
    with LLM(model=str(tiny_model_path), num_kv_blocks=4) as small:
        assert "the context is that and not the model's 1,024" in caplog.text
        with pytest.raises(ContextOverflowError, match="context is 64"):
            small.generate([[5] * 60], SamplingParams(max_tokens=5))
