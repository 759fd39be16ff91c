"""Embeddings against transformers' hidden states after the final norm."""

import numpy as np
import pytest

from gradus import LLM, SamplingParams
from gradus.errors import ContextOverflowError, InvalidRequestError

PROMPTS = ["Hello", "The quick brown fox jumps over the lazy dog. " * 3, "你好", "The quick brown fox"]


@pytest.fixture(scope="module", params=["native", "torch"])
def llm(request, tiny_model_path):
    with LLM(model=str(tiny_model_path), dtype="float32", max_model_len=256, backend=request.param) as model:
        yield model


@pytest.fixture(scope="module")
def hidden_states(tiny_model_path):
    """Token ids -> [num_tokens, hidden] by transformers."""
    import torch
    from transformers import AutoModel

    model = AutoModel.from_pretrained(tiny_model_path, dtype=torch.float32)

    def states(token_ids):
        with torch.inference_mode():
            return model(torch.tensor([token_ids])).last_hidden_state[0].numpy()

    return states


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_embeddings_are_transformers_hidden_states(llm, hidden_states, pooling, normalize):
    for _ in range(2):  # the second time with what the first left in the prefix cache
        outputs = llm.embed(PROMPTS, pooling=pooling, normalize=normalize)
        for prompt, output in zip(PROMPTS, outputs, strict=True):
            assert output.prompt == prompt
            states = hidden_states(output.prompt_token_ids)
            expected = states[-1] if pooling == "last" else states.mean(0)
            if normalize:
                expected = expected / np.linalg.norm(expected)
            np.testing.assert_allclose(output.outputs.embedding, expected, atol=1e-4)


@pytest.mark.parametrize("pooling", ["last", "mean"])
@pytest.mark.parametrize(
    "switch",
    [
        {"max_num_batched_tokens": 5},
        {"enable_prefix_caching": False},
        {"num_kv_blocks": 10, "max_num_seqs": 3},
        {"enforce_eager": True},
        {"batching": "static"},
        {"scheduling": "separated"},
    ],
    ids=str,
)
def test_switches_leave_every_bit_as_it_is(tiny_model_path, pooling, switch):
    options = {"model": str(tiny_model_path), "dtype": "float32", "max_model_len": 160}
    with LLM(**options) as plain, LLM(**options, **switch) as switched:
        expected = [output.outputs.embedding for output in plain.embed(PROMPTS, pooling)]
        for _ in range(2):
            assert [output.outputs.embedding for output in switched.embed(PROMPTS, pooling)] == expected


def test_embedding_beside_a_stream_disturbs_neither(llm):
    params = SamplingParams(temperature=0, max_tokens=12)
    alone = llm.generate("Hello", params)[0].outputs[0].token_ids
    expected = llm.embed(PROMPTS)
    stream = llm.stream("Hello", params)
    tokens = list(next(stream).token_ids)
    for output, alone_output in zip(llm.embed(PROMPTS), expected, strict=True):
        np.testing.assert_allclose(output.outputs.embedding, alone_output.outputs.embedding, atol=1e-6)
    for delta in stream:
        tokens += delta.token_ids
    assert tokens == alone


def test_a_prompt_may_fill_the_context_and_no_more(llm):
    assert len(llm.embed([1] * 256)[0].outputs.embedding) > 0
    with pytest.raises(ContextOverflowError, match="prompt 1: the prompt has 257 tokens"):
        llm.embed([[1], [1] * 257])
    with pytest.raises(InvalidRequestError, match="pooling is 'max'"):
        llm.embed("Hello", pooling="max")
