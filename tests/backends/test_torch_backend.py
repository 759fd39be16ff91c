"""The reference backend, beyond what the correctness gate compares."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from gradus.backends.options import BackendOptions
from gradus.backends.torch.backend import TorchBackend
from gradus.batch import Batch
from gradus.errors import BackendError
from gradus.models.checkpoint.dummy import DummyCheckpoint
from gradus.models.config import ModelConfig
from gradus.models.rope import Rope
from tests.backend_driver import greedy

CONFIG = ModelConfig(
    architecture="Qwen3ForCausalLM",
    vocab_size=50,
    hidden_size=32,
    intermediate_size=48,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    head_dim=8,
    rms_norm_eps=1e-6,
    rope=Rope(head_dim=8, theta=10000.0),
    max_position_embeddings=128,
    tie_word_embeddings=True,
    attention_bias=False,
    dtype="bf16",
)
OPTIONS = BackendOptions(
    weight_dtype="bf16",
    num_threads=1,
    max_num_batched_tokens=64,
    max_num_seqs=4,
    max_model_len=64,
    block_size=16,
    num_blocks=8,
    kv_cache_dtype="f32",
    attention="blocked",
    enforce_eager=False,
)
PROMPT = list(range(20))


def batch(token_ids: list[int], start: int, blocks: list[int], return_logits: bool = True) -> Batch:
    """One sequence: `token_ids` at positions from `start`, sampling from the last."""
    positions = np.arange(start, start + len(token_ids), dtype=np.int32)
    table = np.array(blocks)
    return Batch(
        token_ids=np.array(token_ids, np.int32),
        positions=positions,
        slot_mapping=(table[positions // 16] * 16 + positions % 16).astype(np.int64),
        query_start=np.array([0, len(token_ids)], np.int32),
        context_lens=np.array([start + len(token_ids)], np.int32),
        block_tables=np.array([blocks], np.int32),
        block_copies=np.empty((0, 2), np.int32),
        output_rows=np.array([len(token_ids) - 1], np.int32),
        sampling=greedy(np.array([start + len(token_ids)], np.int32)),
        return_logits=return_logits,
    )


@pytest.fixture
def backend() -> Iterator[TorchBackend]:
    backend = TorchBackend(CONFIG, DummyCheckpoint(CONFIG), OPTIONS)
    yield backend
    backend.close()


def logits(backend: TorchBackend, step: Batch) -> np.ndarray:
    result = backend.execute(step).logits
    assert result is not None
    return result


def test_properties(backend: TorchBackend) -> None:
    assert (backend.block_size, backend.num_blocks, backend.vocab_size) == (16, 8, 50)


def test_logits_come_only_when_asked_for(backend: TorchBackend) -> None:
    asked = backend.execute(batch(PROMPT, 0, [3, 5]))
    assert asked.logits is not None
    assert asked.logits.shape == (1, 50)
    assert asked.logits.dtype == np.float32
    assert asked.token_ids.tolist() == [[asked.logits.argmax()]]
    assert backend.execute(batch(PROMPT, 0, [3, 5], return_logits=False)).logits is None


def test_logprobs_are_passed_on(backend: TorchBackend) -> None:
    step = batch(PROMPT, 0, [3, 5])
    step.sampling.num_logprobs[:] = 3
    result = backend.execute(step)
    assert result.logits is not None
    exact = result.logits[0] - np.log(np.exp(result.logits[0]).sum())
    assert result.top_token_ids[0].tolist() == np.argsort(-exact)[:3].tolist()
    np.testing.assert_allclose(result.top_logprobs[0], np.sort(exact)[::-1][:3], atol=1e-5)
    assert result.ranks.tolist() == [[1]]


def test_copied_blocks_hold_the_same_context(backend: TorchBackend) -> None:
    backend.execute(batch(PROMPT, 0, [3, 5]))
    expected = logits(backend, batch([7], 20, [3, 5]))
    step = batch([7], 20, [6, 0])
    step.block_copies = np.array([[3, 6], [5, 0]], np.int32)
    np.testing.assert_array_equal(logits(backend, step), expected)
    # A copy is a copy: what is written into it stays out of the original.
    backend.execute(batch([1, 2, 3], 18, [6, 0]))
    np.testing.assert_array_equal(logits(backend, batch([7], 20, [3, 5])), expected)


def test_copies_read_what_was_there_before_any_of_them(backend: TorchBackend) -> None:
    backend.execute(batch(PROMPT, 0, [3, 5]))
    expected = logits(backend, batch([7], 20, [3, 5]))
    step = batch([7], 20, [5, 3])
    step.block_copies = np.array([[3, 5], [5, 3]], np.int32)
    np.testing.assert_array_equal(logits(backend, step), expected)


def test_a_step_without_outputs(backend: TorchBackend) -> None:
    step = batch(PROMPT, 0, [3, 5])
    step.output_rows = np.empty(0, np.int32)
    step.sampling = greedy(np.empty(0, np.int32))
    result = backend.execute(step)
    assert result.token_ids.shape == (0, 1)


@pytest.mark.parametrize("weight_dtype", ["f32", "bf16", "f16"])
def test_weights_are_rounded_to_the_chosen_type(weight_dtype: str) -> None:
    backend = TorchBackend(CONFIG, DummyCheckpoint(CONFIG), replace(OPTIONS, weight_dtype=weight_dtype))
    exact = TorchBackend(CONFIG, DummyCheckpoint(CONFIG), OPTIONS)
    difference = np.abs(logits(backend, batch(PROMPT, 0, [0, 1])) - logits(exact, batch(PROMPT, 0, [0, 1])))
    # bf16 -> f32 loses nothing; bf16 -> f16 loses values below 2**-24 only, far under 0.02.
    assert difference.max() <= (0 if weight_dtype != "f16" else 1e-4)


def test_a_failing_step_is_a_backend_error(backend: TorchBackend) -> None:
    with pytest.raises(BackendError, match="failed in a step"):
        backend.execute(batch([50], 0, [0]))
