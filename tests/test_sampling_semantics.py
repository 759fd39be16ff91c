"""Each sampling parameter through the whole of `LLM`, against a plain formula over the model's own logits.

The oracle for a step's logits is the log probabilities that transformers' forward pass gives for the same
tokens; a greedy choice must be the argmax of the formula, and drawn tokens must follow its distribution.
"""

from dataclasses import replace

import numpy as np
import pytest

from gradus import LLM, SamplingParams
from gradus.errors import InvalidRequestError, RequestFailedError

PROMPT = "The quick brown fox jumps over"
LENGTH = 12


@pytest.fixture(scope="module")
def llm(tiny_model_path):
    with LLM(model=str(tiny_model_path), dtype="float32", max_model_len=256) as model:
        yield model


@pytest.fixture(scope="module")
def logits_after(tiny_model_path):
    """Token ids -> the next token's logits by transformers, f64."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model_path, dtype=torch.float32)

    def logits(token_ids):
        with torch.inference_mode():
            return model(torch.tensor([token_ids])).logits[0, -1].double().numpy()

    return logits


def greedy_is_the_argmax(llm, logits_after, edit, **params):
    """Every token of a greedy completion is the likeliest one after `edit(logits, prompt, output)`."""
    params = {"temperature": 0, "max_tokens": LENGTH, "ignore_eos": True} | params
    (result,) = llm.generate(PROMPT, SamplingParams(**params))
    prompt, output = result.prompt_token_ids, result.outputs[0].token_ids
    assert len(output) == LENGTH
    plain = 0
    for i, token in enumerate(output):
        logits = logits_after(prompt + output[:i])
        edited = edit(logits.copy(), prompt, output[:i])
        assert edited[token] > np.sort(edited)[-1] - 1e-4
        plain += logits.argmax() == token
    return plain


@pytest.mark.parametrize("penalty", [1.3, 0.6])
def test_repetition_penalty(llm, logits_after, penalty):
    def edit(logits, prompt, output):
        ids = list({*prompt, *output})
        logits[ids] = np.where(logits[ids] > 0, logits[ids] / penalty, logits[ids] * penalty)
        return logits

    assert greedy_is_the_argmax(llm, logits_after, edit, repetition_penalty=penalty) <= LENGTH


@pytest.mark.parametrize("penalty", [2.0, -2.0])
def test_frequency_penalty(llm, logits_after, penalty):
    def edit(logits, prompt, output):
        for token in output:
            logits[token] -= penalty
        return logits

    greedy_is_the_argmax(llm, logits_after, edit, frequency_penalty=penalty)


@pytest.mark.parametrize("penalty", [2.0, -2.0])
def test_presence_penalty(llm, logits_after, penalty):
    def edit(logits, prompt, output):
        logits[list(set(output))] -= penalty
        return logits

    greedy_is_the_argmax(llm, logits_after, edit, presence_penalty=penalty)


def test_all_penalties_and_a_bias_in_vllms_order(llm, logits_after):
    def edit(logits, prompt, output):
        logits[7] += 3.0
        logits[300] -= 5.0
        ids = list({*prompt, *output})
        logits[ids] = np.where(logits[ids] > 0, logits[ids] / 1.5, logits[ids] * 1.5)
        for token in output:
            logits[token] -= 0.7
        logits[list(set(output))] -= 0.9
        return logits

    params = {"repetition_penalty": 1.5, "frequency_penalty": 0.7, "presence_penalty": 0.9}
    greedy_is_the_argmax(llm, logits_after, edit, logit_bias={7: 3.0, 300: -5.0}, **params)


def test_logit_bias(llm, logits_after):
    def edit(logits, prompt, output):
        logits[11] += 100
        return logits

    assert greedy_is_the_argmax(llm, logits_after, edit, logit_bias={"11": 100}) < LENGTH


def test_allowed_token_ids(llm, logits_after):
    allowed = [5, 40, 77, 200]

    def edit(logits, prompt, output):
        masked = np.full_like(logits, -np.inf)
        masked[allowed] = logits[allowed]
        return masked

    assert greedy_is_the_argmax(llm, logits_after, edit, allowed_token_ids=allowed) < LENGTH


def test_bad_words_never_appear(llm):
    """Bad words that the plain completion has: of one token, and of several."""
    tokenizer = llm.get_tokenizer()
    params = SamplingParams(temperature=0, max_tokens=40, ignore_eos=True)
    plain = llm.generate(PROMPT, params)[0].outputs[0].token_ids
    words = []
    for length in (1, 2):
        parts = [plain[i : i + length] for i in range(len(plain))]
        texts = [tokenizer.decode(part) for part in parts]
        words.append(next(t for t, p in zip(texts, parts, strict=True) if t and tokenizer.encode(t) == p))
    for word in words:
        params.bad_words = [word]
        ids = tokenizer.encode(word)
        output = llm.generate(PROMPT, params)[0].outputs[0].token_ids
        assert ids in [plain[i : i + len(ids)] for i in range(40)]
        assert ids not in [output[i : i + len(ids)] for i in range(40)]


def test_a_bad_word_does_not_appear_in_any_of_its_forms():
    """Words that are one token after a space and several without."""
    with LLM(model="demo") as demo:
        encode = demo.get_tokenizer().encode
        prompt = demo.chat_prompt([{"role": "user", "content": "What is paged attention?"}])
        params = SamplingParams(temperature=0, max_tokens=40)
        words = demo.generate(prompt, params)[0].outputs[0].text.split()
        uneven = [word for word in words if len(encode(word)) > len(encode(" " + word)) == 1]
        assert "attention" in uneven
        params.bad_words = uneven
        assert not set(uneven) & set(demo.generate(prompt, params)[0].outputs[0].text.split())


def test_min_tokens_puts_off_ends_and_stop_strings(llm):
    tokens = llm.generate(PROMPT, SamplingParams(temperature=0, max_tokens=20))[0].outputs[0].token_ids
    stop = tokens[2]
    first = tokens.index(stop)
    stopped = SamplingParams(temperature=0, max_tokens=20, stop_token_ids=[stop])
    assert len(llm.generate(PROMPT, stopped)[0].outputs[0].token_ids) == first + 1
    stopped.min_tokens = 10
    output = llm.generate(PROMPT, stopped)[0].outputs[0].token_ids
    assert len(output) > 10
    assert stop not in output[:10]
    (whole,) = llm.generate(PROMPT, SamplingParams(temperature=0, max_tokens=20, ignore_eos=True))
    text = whole.outputs[0].text
    by_text = SamplingParams(temperature=0, max_tokens=20, ignore_eos=True, stop=[text[1]], min_tokens=15)
    (late,) = llm.generate(PROMPT, by_text)
    assert len(late.outputs[0].token_ids) >= 15


def test_the_stop_string_can_be_shown(llm):
    params = SamplingParams(temperature=0, max_tokens=40, ignore_eos=True)
    text = llm.generate(PROMPT, params)[0].outputs[0].text
    params.stop = [text[5:8]]
    params.include_stop_str_in_output = True
    shown = llm.generate(PROMPT, params)[0].outputs[0]
    assert shown.text == text[: text.index(text[5:8]) + 3]
    assert (shown.finish_reason, shown.stop_reason) == ("stop", text[5:8])


def test_special_tokens_can_be_shown(llm):
    params = SamplingParams(temperature=0, max_tokens=3, allowed_token_ids=[1], ignore_eos=True)
    assert llm.generate(PROMPT, params)[0].outputs[0].text == ""
    params.skip_special_tokens = False
    shown = llm.generate(PROMPT, params)[0].outputs[0].text
    assert shown == llm.get_tokenizer().token_text(1) * 3


def expected_distribution(logits, temperature, top_k=0, top_p=1.0, min_p=0.0):
    """The distribution that tokens are drawn from, by its definition."""
    p = np.exp((logits - logits.max()) / temperature)
    p /= p.sum()
    p[p < min_p * p.max()] = 0
    order = np.argsort(-p, kind="stable")
    if top_k:
        p[order[top_k:]] = 0
    p /= p.sum()
    if top_p < 1:
        before = p[order].cumsum() - p[order]
        p[order[before >= top_p]] = 0
        p /= p.sum()
    return p


def chi_square_limit(degrees):
    """What chi-square of so many degrees exceeds once in 10,000 times. Source: Wilson & Hilferty 1931."""
    return degrees * (1 - 2 / (9 * degrees) + 3.72 * np.sqrt(2 / (9 * degrees))) ** 3


CUTS = [
    {"temperature": 1.0},
    {"temperature": 0.7, "top_k": 12},
    {"temperature": 1.3, "top_p": 0.6},
    {"temperature": 1.0, "min_p": 0.2},
    {"temperature": 0.8, "min_p": 0.02, "top_k": 30, "top_p": 0.9},
]


def check_frequencies(llm, prompt, expected, **params):
    """4,096 first tokens drawn with different seeds follow the expected distribution."""
    num = 4096
    draws = [SamplingParams(max_tokens=1, seed=i, n=128, **params) for i in range(num // 128)]
    outputs = llm.generate([prompt] * len(draws), draws)
    tokens = [choice.token_ids[0] for output in outputs for choice in output.outputs]
    found = np.bincount(tokens, minlength=len(expected))
    assert found[expected == 0].sum() == 0
    # Tokens that are expected fewer than eight times are counted together.
    common = expected * num >= 8
    observed = np.append(found[common], found[~common].sum())
    wanted = np.append(expected[common], expected[~common].sum()) * num
    observed, wanted = observed[wanted > 0], wanted[wanted > 0]
    if len(wanted) > 1:
        assert ((observed - wanted) ** 2 / wanted).sum() < chi_square_limit(len(wanted) - 1)


@pytest.mark.parametrize("params", CUTS, ids=str)
def test_drawn_tokens_follow_the_distribution(llm, logits_after, params):
    logits = logits_after(llm.get_tokenizer().encode(PROMPT))
    check_frequencies(llm, PROMPT, expected_distribution(logits, **params), **params)


@pytest.mark.parametrize("params", CUTS, ids=str)
def test_the_demo_models_tokens_follow_the_distribution(params):
    """Over the log probabilities that its own backend reports for one prompt."""
    with LLM(model="demo", max_model_len=128) as demo:
        vocab_size = demo._runtime.core.limits.vocab_size
        with_all = SamplingParams(temperature=0, max_tokens=1)
        object.__setattr__(with_all, "logprobs", vocab_size)  # beyond what a request may ask for
        request = demo._runtime.inputs.process("all", PROMPT, SamplingParams(temperature=0, max_tokens=1))
        (update,) = demo._engine.collect([replace(request, params=with_all)])
        logits = np.full(vocab_size, -np.inf)
        for token, logprob in update.logprobs[0].top:
            logits[token] = logprob
        check_frequencies(demo, PROMPT, expected_distribution(logits, **params), **params)


def test_the_comparison_of_distributions_can_fail(llm, logits_after):
    logits = logits_after(llm.get_tokenizer().encode(PROMPT))
    with pytest.raises(AssertionError):
        check_frequencies(llm, PROMPT, expected_distribution(logits, 1.0), temperature=0.8)


def test_seeds_repeat_in_another_process_of_the_model(llm, tiny_model_path):
    params = SamplingParams(
        temperature=1.0, seed=5, n=3, max_tokens=16, min_p=0.01, repetition_penalty=1.1, bad_words=["a"]
    )
    first = [choice.token_ids for choice in llm.generate(PROMPT, params)[0].outputs]
    assert len(set(map(tuple, first))) == 3
    with LLM(
        model=str(tiny_model_path), dtype="float32", max_model_len=256, max_num_batched_tokens=3
    ) as other:
        others = [PROMPT, "something else", PROMPT]
        again = other.generate(others, [SamplingParams(seed=1), SamplingParams(), params])
    assert [choice.token_ids for choice in again[2].outputs] == first


@pytest.mark.parametrize("chunk", [512, 7])
def test_prompt_logprobs_are_those_of_transformers(tiny_model_path, logits_after, chunk):
    with LLM(
        model=str(tiny_model_path), dtype="float32", max_model_len=256, max_num_batched_tokens=chunk
    ) as llm:
        params = SamplingParams(temperature=0, max_tokens=2, prompt_logprobs=3, n=2)
        for _ in range(2):  # the second time the prompt is in the prefix cache
            (result,) = llm.generate(PROMPT * 3, params)
            ids = result.prompt_token_ids
            assert len(result.prompt_logprobs) == len(ids)
            assert result.prompt_logprobs[0] is None
            for i in range(1, len(ids)):
                logits = logits_after(ids[:i])
                logprobs = logits - np.log(np.exp(logits - logits.max()).sum()) - logits.max()
                entry = result.prompt_logprobs[i]
                assert len(entry) in (3, 4)
                for token, given in entry.items():
                    assert given.logprob == pytest.approx(logprobs[token], abs=1e-4)
                assert entry[ids[i]].rank == 1 + (logprobs > logprobs[ids[i]]).sum()
        assert llm.generate("a b", SamplingParams(max_tokens=1))[0].prompt_logprobs is None


def test_what_leaves_no_token_is_an_error_of_its_request_alone(llm):
    impossible = SamplingParams(max_tokens=2, allowed_token_ids=[9], logit_bias={9: 0}, bad_words=["x"])
    impossible.bad_words = [llm.get_tokenizer().token_text(9)]
    with pytest.raises(RequestFailedError, match="masks leave none") as failed:
        llm.generate([PROMPT, PROMPT], [impossible, SamplingParams(temperature=0, max_tokens=2)])
    assert [o.outputs[0].finish_reason for o in failed.value.outputs] == ["error", "length"]


@pytest.mark.parametrize(
    ("params", "param", "says"),
    [
        ({"logit_bias": {100_000: 1}}, "logit_bias", "logit_bias has 100000"),
        ({"allowed_token_ids": [100_000]}, "allowed_token_ids", "allowed_token_ids has 100000"),
        ({"min_tokens": 17}, "min_tokens", "at most max_tokens, which is 16"),
        ({"bad_words": ["  "]}, "bad_words", "is no token"),
    ],
)
def test_what_depends_on_the_model_is_refused_by_name(llm, params, param, says):
    with pytest.raises(InvalidRequestError, match=says) as refused:
        llm.generate(PROMPT, SamplingParams(**params))
    assert refused.value.param == param
