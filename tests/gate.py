"""The correctness gate: does a backend compute what transformers computes, token for token?

`make_model` writes a small random model with transformers; `run` loads it the way a user would, generates
greedily on a backend, and compares with transformers, in f32, on the same rounded weights; `check` passes or
raises `GateError`.

The oracle reads the tokens that the backend chose, all of a prompt's in one forward pass. As long as the
token that the oracle finds likeliest is the one chosen at every step, the two greedy sequences are the same.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
import transformers

from gradus.backends.options import BackendOptions
from gradus.backends.registry import backend_class
from gradus.batch import Float32
from gradus.errors import BackendError
from gradus.models.checkpoint.base import Checkpoint
from gradus.models.config import ModelConfig
from gradus.models.sources import resolve_model
from tests.backend_driver import BackendDriver, Generation, Mutate

PROMPT_LENGTHS = (1, 2, 15, 16, 17, 63, 255, 256, 257, 700, 2048)
NUM_TOKENS = 64
TOLERANCE = 1e-4  # of the logits' standard deviation
MAX_TIES = 0.01  # of the prompts
MAX_MODEL_LEN = max(PROMPT_LENGTHS) + NUM_TOKENS

OPTIONS = BackendOptions(
    weight_dtype="f32",
    num_threads=2,
    max_num_batched_tokens=512,
    max_num_seqs=len(PROMPT_LENGTHS),
    max_model_len=MAX_MODEL_LEN,
    block_size=16,
    num_blocks=sum(-(-(length + NUM_TOKENS) // 16) for length in PROMPT_LENGTHS) + 3,
    kv_cache_dtype="f32",
    attention="blocked",
    enforce_eager=False,
)
CONTIGUOUS = replace(OPTIONS, block_size=-(-MAX_MODEL_LEN // 16) * 16, num_blocks=len(PROMPT_LENGTHS))


class GateError(AssertionError):
    """The backend does not compute what the oracle computes."""


@dataclass(frozen=True)
class Model:
    """A checkpoint on disk and its oracle."""

    directory: Path
    oracle: transformers.PreTrainedModel


@dataclass(frozen=True)
class Divergence:
    """A token that is not the oracle's choice; `margin` is by how much the oracle prefers its own."""

    where: str
    margin: float  # in standard deviations of the oracle's logits


@dataclass
class Report:
    """How far backend and oracle were apart.

    Attributes:
        num_prompts: how many were compared.
        max_error: largest difference of two logits, in standard deviations of the oracle's logits.
        divergences: at most one per prompt: where the comparison of its tokens ended.
    """

    num_prompts: int
    max_error: float = 0.0
    divergences: list[Divergence] = field(default_factory=list)

    def ties(self, tolerance: float = TOLERANCE) -> int:
        """Divergences where the oracle's two best logits are closer than `tolerance`: neither is wrong."""
        return sum(divergence.margin < tolerance for divergence in self.divergences)


def make_model(
    directory: Path, dtype: torch.dtype = torch.float32, seed: int = 0, family: str = "Qwen3", **shape: object
) -> Model:
    """Write a random model of this shape; wide weights make its logits distinct and its attention sharp.

    family: what transformers calls it, as in "Qwen3Config" and "Qwen3ForCausalLM".
    """
    torch.manual_seed(seed)
    defaults: dict[str, object] = {"initializer_range": 0.3, "max_position_embeddings": 4096}
    config_class = getattr(transformers, f"{family}TextConfig", None) or getattr(
        transformers, f"{family}Config"
    )
    config = config_class(**(defaults | shape))
    model = getattr(transformers, f"{family}ForCausalLM")(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:  # norms start at one and biases at zero, where mistakes would not show
                parameter.add_(torch.rand_like(parameter) - 0.5)
                assert "norm" in name or name.endswith("bias")
    model.to(dtype).save_pretrained(directory)
    return open_model(directory)


def open_model(directory: Path) -> Model:
    """A checkpoint, and transformers on the same weights in f32."""
    oracle = transformers.AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float32, attn_implementation="eager"
    )
    return Model(directory, oracle.eval())


def make_prompts(vocab_size: int, lengths: Sequence[int] = PROMPT_LENGTHS) -> list[list[int]]:
    random = np.random.default_rng(7)
    return [random.integers(0, vocab_size, length).tolist() for length in lengths]


def run(
    model: Model,
    backend: str,
    options: BackendOptions = OPTIONS,
    *,
    lengths: Sequence[int] = PROMPT_LENGTHS,
    num_tokens: int = NUM_TOKENS,
    mutate_config: Callable[[ModelConfig], ModelConfig] = lambda config: config,
    mutate_checkpoint: Callable[[Checkpoint], Checkpoint] = lambda checkpoint: checkpoint,
    mutate_batch: Mutate | None = None,
) -> Report:
    """Generate on the backend and compare; the mutations spoil our side, never the oracle's.

    Raises:
        GateError: the backend refused a step.
    """
    source = resolve_model(str(model.directory))
    options = replace(options, weight_dtype=source.config.dtype)
    checkpoint = mutate_checkpoint(source.checkpoint)
    engine = backend_class(backend)(mutate_config(source.config), checkpoint, options)
    assert engine.block_size == options.block_size
    prompts = make_prompts(source.config.vocab_size, lengths)
    try:
        driver = BackendDriver(
            engine, max_num_batched_tokens=options.max_num_batched_tokens, seed=1, mutate=mutate_batch
        )
        generations = driver.generate(prompts, num_tokens)
    except BackendError as error:  # a backend may also notice that a batch does not hang together
        raise GateError(f"the backend refused a step: {error}") from error
    finally:
        engine.close()
    report = Report(len(prompts))
    for prompt, generation in zip(prompts, generations, strict=True):
        _compare(prompt, generation, oracle_logits(model.oracle, prompt, generation.token_ids), report)
    return report


def check(report: Report, tolerance: float = TOLERANCE) -> None:
    """Ties are counted over all runs by the caller; see `check_ties`.

    Raises:
        GateError: tokens differ, or logits differ by more than `tolerance`.
    """
    for divergence in report.divergences:
        if divergence.margin >= tolerance:
            raise GateError(f"{divergence.where}, which the oracle likes less by {divergence.margin:.2e}")
    if not report.max_error <= tolerance:  # so that NaN fails
        raise GateError(f"logits are off by {report.max_error:.2e}; {tolerance:.0e} is allowed")


def check_ties(reports: Sequence[Report]) -> None:
    """Raises:
    GateError: more than 1 % of the comparisons of tokens ended early, so that the gate has lost its teeth.
    """
    ties = sum(report.ties() for report in reports)
    num_prompts = sum(report.num_prompts for report in reports)
    if ties > MAX_TIES * num_prompts:
        raise GateError(f"{ties} of {num_prompts} comparisons ended in a tie")


@torch.inference_mode()
def oracle_logits(oracle: transformers.PreTrainedModel, prompt: list[int], token_ids: list[int]) -> Float32:
    """The oracle's logits at the positions where `token_ids` were chosen, [len(token_ids), vocab_size]."""
    input_ids = torch.tensor([prompt + token_ids[:-1]])
    return oracle(input_ids, logits_to_keep=len(token_ids), use_cache=False).logits[0].numpy()


def _compare(prompt: list[int], ours: Generation, expected: Float32, report: Report) -> None:
    deviation = float(expected.std())
    error = float(np.abs(ours.logits - expected).max()) / deviation
    if not error <= report.max_error:  # so that NaN stays
        report.max_error = error
    best = expected.argmax(axis=-1)
    for step, (chosen, right) in enumerate(zip(ours.token_ids, best, strict=True)):
        if chosen != right:
            margin = float(expected[step, right] - expected[step, chosen]) / deviation
            where = f"a prompt of {len(prompt)} tokens got {chosen} instead of {right} at step {step}"
            report.divergences.append(Divergence(where, margin))
            return
