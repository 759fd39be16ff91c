"""`/v1/completions`, `/tokenize`, `/detokenize` and `/v1/models`."""

import openai
import pytest

from tests.server.harness import MODEL


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
