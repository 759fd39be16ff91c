"""`/v1/completions`, `/tokenize`, `/detokenize` and `/v1/models`."""

import openai
import pytest

from tests.server.harness import MODEL, hosting_demo


def complete(client, prompt="Question?", **options):
    options.setdefault("max_tokens", 200)
    return client.completions.create(model=MODEL, prompt=prompt, **options)


def test_a_text_is_completed(client, server, answer):
    result = complete(client)
    assert result.id.startswith("cmpl-")
    assert result.object == "text_completion"
    assert result.choices[0].text == answer
    assert result.choices[0].finish_reason == "stop"
    assert result.usage.prompt_tokens == len(server.tokenizer.encode("Question?"))


def test_sixteen_tokens_are_the_default(client):
    result = client.completions.create(model=MODEL, prompt="Question?")
    assert result.usage.completion_tokens == 16
    assert result.choices[0].finish_reason == "length"


@pytest.mark.parametrize("stream", [False, True])
def test_the_four_ways_to_give_prompts(client, server, answer, stream):
    ids = server.tokenizer.encode("Question?")
    for prompt, num in [("Question?", 1), (ids, 1), (["Question?", "Other"], 2), ([ids, ids[:2], ids], 3)]:
        result = complete(client, prompt, n=2, stream=stream)
        texts = [""] * (2 * num)
        if stream:
            for chunk in result:
                texts[chunk.choices[0].index] += chunk.choices[0].text
        else:
            assert [choice.index for choice in result.choices] == list(range(2 * num))
            texts = [choice.text for choice in result.choices]
        assert texts == [answer, answer[1:]] * num


def test_usage_covers_all_prompts(client, server):
    prompts = ["Question?", "Another one"]
    usage = complete(client, prompts, n=2, max_tokens=4).usage
    assert usage.prompt_tokens == sum(len(server.tokenizer.encode(prompt)) for prompt in prompts)
    assert usage.completion_tokens == 16
    chunks = list(
        complete(client, prompts, n=2, max_tokens=4, stream=True, stream_options={"include_usage": True})
    )
    assert chunks[-1].usage.completion_tokens == 16
    assert chunks[-1].choices == []


@pytest.mark.parametrize("stream", [False, True])
def test_logprobs_in_the_older_shape(client, server, answer, stream):
    result = complete(client, logprobs=1, stream=stream)
    tokens, offsets, top, values = [], [], [], []
    for part in result if stream else [result]:
        if part.choices[0].logprobs:
            tokens += part.choices[0].logprobs.tokens
            offsets += part.choices[0].logprobs.text_offset
            top += part.choices[0].logprobs.top_logprobs
            values += part.choices[0].logprobs.token_logprobs
    ids = server.tokenizer.encode(answer)
    assert len(tokens) == len(offsets) == len(top) == len(values) == len(ids) + 1
    assert set(values) == {-0.25}
    for i in range(len(ids)):
        # The characters that were complete before the token.
        before = server.tokenizer.decode(ids[:i]).rstrip("\ufffd")
        assert offsets[i] == len(before)
        assert tokens[i] in top[i]
    readable = "".join(token for token in tokens[:-1] if not token.startswith("bytes:"))
    assert "The answer" in readable.replace("  ", " ")


def test_a_stop_string_ends_one_choice_and_not_the_others(client, server, answer):
    result = complete(client, n=2, stop=["你"])
    assert result.choices[0].text == ""
    assert result.choices[0].stop_reason == "你"
    assert result.choices[1].text == answer[1:]
    server.wait_until_idle()


def test_best_of_equal_to_n_changes_nothing(client, server, answer):
    assert complete(client, n=2, best_of=2).choices[1].text == answer[1:]
    assert complete(client, best_of=1, echo=False, suffix=None).choices[0].text == answer


def test_ids_without_a_token_are_harmless(client):
    result = complete(client, [425, 429], max_tokens=2)
    assert result.usage.prompt_tokens == 2


def test_a_text_and_its_tokens(server):
    tokens = server.post("/tokenize", {"prompt": "Hi 你好", "return_token_strs": True}).json()
    assert tokens["count"] == len(tokens["tokens"]) == len(tokens["token_strs"])
    assert tokens["max_model_len"] == 1024
    assert server.post("/detokenize", {"tokens": tokens["tokens"]}).json() == {"prompt": "Hi 你好"}
    assert server.post("/tokenize", {"prompt": ""}).json()["tokens"] == []
    assert server.post("/detokenize", {"tokens": [2, 429]}).json() == {"prompt": "<|im_end|>"}


def test_the_model_list(client, server):
    [model] = client.models.list().data
    assert model.id == MODEL
    assert model.max_model_len == 1024
    assert client.models.retrieve(MODEL).id == MODEL
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("org/other")
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize("stream", [False, True])
def test_an_echo_comes_before_each_choice(client, answer, stream):
    prompts = ["Question? <|im_start|>", "Ωμέγα?"]
    result = complete(client, prompts, n=2, echo=True, stream=stream)
    texts = [""] * 4
    for part in result if stream else [result]:
        for choice in part.choices:
            texts[choice.index] += choice.text
    assert texts == [
        prompts[0] + answer,
        prompts[0] + answer[1:],
        prompts[1] + answer,
        prompts[1] + answer[1:],
    ]


def test_token_ids_are_echoed_as_text(client, server, answer):
    assert complete(client, server.tokenizer.encode("Question?"), echo=True).choices[0].text == (
        f"Question?{answer}"
    )


@pytest.mark.parametrize("stream", [False, True])
def test_echoed_logprobs_begin_with_the_prompts(client, server, answer, stream):
    prompt = "你好 <|im_start|>Hi "
    result = complete(client, prompt, n=2, echo=True, logprobs=2, stream=stream)
    shown = [{"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []} for _ in range(2)]
    texts = ["", ""]
    for part in result if stream else [result]:
        for choice in part.choices:
            texts[choice.index] += choice.text
            for name, values in (choice.logprobs.to_dict() if choice.logprobs else {}).items():
                shown[choice.index][name] += values
    ids = server.tokenizer.encode(prompt)
    for text, logprobs in zip(texts, shown, strict=True):
        assert len({len(values) for values in logprobs.values()}) == 1
        assert logprobs["token_logprobs"][0] is None
        assert logprobs["top_logprobs"][0] is None
        assert set(logprobs["token_logprobs"][1:]) == {-0.25}
        assert all(len(top) in (2, 3) for top in logprobs["top_logprobs"][1:])
        assert logprobs["text_offset"] == sorted(logprobs["text_offset"])
        assert logprobs["text_offset"][len(ids)] == len(prompt)
        for token, offset in zip(logprobs["tokens"], logprobs["text_offset"], strict=True):
            if not token.startswith("bytes:") and token != "<|im_end|>":
                assert text[offset:].startswith(token)


def test_nothing_but_an_echo(client, server):
    result = complete(client, "Question?", echo=True, max_tokens=0, logprobs=0)
    [choice] = result.choices
    assert (choice.text, choice.finish_reason) == ("Question?", "length")
    assert len(choice.logprobs.tokens) == result.usage.prompt_tokens == result.usage.total_tokens
    assert result.usage.completion_tokens == 0
    chunks = list(complete(client, "Question?", echo=True, max_tokens=0, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == "Question?"
    with pytest.raises(openai.BadRequestError, match="max_tokens is 0"):
        complete(client, max_tokens=0)


def test_the_best_have_the_highest_mean_logprob():
    """On the embedded model: the same seed without `best_of` shows what there was to choose from."""
    with hosting_demo(max_model_len=256) as demo:
        options = {"model": "demo", "prompt": "Once", "max_tokens": 12, "temperature": 1.5, "seed": 3}
        client = demo.client()
        all_six = client.completions.create(**options, n=6, logprobs=0).choices
        means = {
            choice.text: sum(choice.logprobs.token_logprobs) / len(choice.logprobs.token_logprobs)
            for choice in all_six
        }
        best = client.completions.create(**options, n=2, best_of=6)
        assert [choice.text for choice in best.choices] == sorted(means, key=means.get, reverse=True)[:2]
        assert [choice.index for choice in best.choices] == [0, 1]
        assert best.choices[0].logprobs is None
        assert best.usage.completion_tokens == sum(len(choice.logprobs.token_logprobs) for choice in all_six)


def test_what_echo_and_best_of_exclude(client):
    with pytest.raises(openai.BadRequestError, match="best_of is 2 and stream is true"):
        complete(client, best_of=2, stream=True)
    with pytest.raises(openai.BadRequestError, match="prompt_logprobs is 3 and logprobs is 1"):
        complete(client, echo=True, logprobs=1, extra_body={"prompt_logprobs": 3})
