"""`/v1/embeddings` through the official client, against the offline API, whose own oracle is transformers."""

import base64

import numpy as np
import openai
import pytest

from gradus import LLM
from tests.server.harness import hosting_demo

TEXTS = ["Hello", "The quick brown fox jumps over the lazy dog.", "你好"]


@pytest.fixture(scope="module")
def demo():
    with hosting_demo(max_model_len=128) as running:
        yield running


@pytest.fixture(scope="module")
def expected():
    with LLM(model="demo", num_threads=1, max_model_len=128) as llm:
        yield lambda texts, **options: [output.outputs.embedding for output in llm.embed(texts, **options)]


def embed(server, texts, **options):
    return server.client().embeddings.create(model="demo", input=texts, **options)


def vectors(result):
    assert [entry.index for entry in result.data] == list(range(len(result.data)))
    return [entry.embedding for entry in result.data]


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_vectors_are_those_of_the_offline_api(demo, expected, pooling, normalize):
    result = embed(
        demo, TEXTS, encoding_format="float", extra_body={"pooling": pooling, "normalize": normalize}
    )
    assert vectors(result) == expected(TEXTS, pooling=pooling, normalize=normalize)


def test_the_default_is_the_last_token_normalized_and_packed(demo, expected):
    """The client asks for base64 and unpacks it."""
    [vector] = vectors(embed(demo, TEXTS[1]))
    np.testing.assert_allclose(vector, expected(TEXTS[1])[0], atol=1e-7)
    np.testing.assert_allclose(np.linalg.norm(vector), 1, atol=1e-6)
    raw = demo.post("/v1/embeddings", {"input": TEXTS[1], "encoding_format": "base64"}).json()
    packed = np.frombuffer(base64.b64decode(raw["data"][0]["embedding"]), "<f4")
    np.testing.assert_array_equal(packed, np.asarray(expected(TEXTS[1])[0], np.float32))


def test_the_four_ways_to_give_texts(demo):
    ids = [demo.tokenizer.encode(text) for text in TEXTS]
    by_text = vectors(embed(demo, TEXTS))
    assert vectors(embed(demo, ids)) == by_text
    assert vectors(embed(demo, TEXTS[0])) == vectors(embed(demo, ids[0])) == by_text[:1]


def test_tokens_are_counted(demo):
    usage = embed(demo, TEXTS).usage
    assert (
        usage.prompt_tokens == usage.total_tokens == sum(len(demo.tokenizer.encode(text)) for text in TEXTS)
    )


REFUSED = [
    ({"dimensions": 8}, "dimensions", "hidden size"),
    ({"encoding_format": "int8"}, "encoding_format", "'float' or 'base64'"),
    ({"pooling": "max"}, "pooling", "'last' or 'mean'"),
    ({"normalize": 1}, "normalize", "true or false"),
    ({"truncate_prompt_tokens": 5}, "truncate_prompt_tokens", "never cut"),
    ({"input": []}, "input", "at least one"),
    ({"input": ""}, "input", "empty"),
    ({"input": ["a", ""]}, "input", "input[1]"),
    ({"input": ["a", [1]]}, "input", "must be a string"),
    ({"input": [[10**6]]}, "input", "1000000"),
    ({"input": "word " * 200}, "input", "context is 128"),
    ({"input": ["a"] * 257}, "input", "at most 256"),
    ({"priority": 2**40}, "priority", "must be an integer from"),
    ({"temperature": 1}, "temperature", "no field"),
]


@pytest.mark.parametrize(("body", "param", "says"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_cannot_be_is_refused_by_name(demo, body, param, says):
    response = demo.post("/v1/embeddings", {"input": "Hi", **body})
    assert response.status_code == 400, response.text
    assert response.json()["error"]["param"] == param
    assert says in response.json()["error"]["message"]


def test_another_model_is_not_found(demo):
    with pytest.raises(openai.NotFoundError):
        demo.client().embeddings.create(model="text-embedding-3-small", input="Hi")
