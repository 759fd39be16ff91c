"""The quality of quantized weights on part of the held-out text, with llama.cpp itself as the oracle.

`tools/quantization_quality.py` measures the same on all of it; the bars are those of `gradus bench accuracy`.
"""

import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from llama_cpp_oracle import LlamaCppOracle  # noqa: E402
from quantization_quality import DEFAULT_MODEL as MODEL  # noqa: E402
from quantization_quality import texts_of  # noqa: E402
from transformers import AutoTokenizer  # noqa: E402

from gradus import LLM  # noqa: E402
from gradus.bench.accuracy.held_out import load_questions  # noqa: E402
from gradus.bench.accuracy.kinds import EIGHT_BITS, FOUR_BITS, KINDS  # noqa: E402
from gradus.bench.accuracy.quality import Text  # noqa: E402
from gradus.bench.accuracy.quality import losses as losses_of  # noqa: E402
from gradus.export.gguf import export_gguf  # noqa: E402
from gradus.models.sources import resolve_model  # noqa: E402

EVERY = 40  # one text in so many: 18, some 800 tokens

Texts = list[Text]
Losses = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def texts() -> Texts:
    """Prompts with their right answers, as token ids."""
    return texts_of(load_questions(MODEL)[::EVERY], AutoTokenizer.from_pretrained(MODEL))


@pytest.fixture(scope="module")
def ours(texts: Texts) -> Losses:
    """Losses of all tokens, by quantization; 8-bit activations where the weights are quantized."""
    return {kind: _ours(texts, kind) for kind in ("f32", "int8", "int4", "int4-all")}


def _ours(texts: Texts, kind: str) -> np.ndarray:
    with LLM.from_config(KINDS[kind].config(str(MODEL), None, Path())) as llm:
        return np.concatenate(losses_of(llm, texts))


@pytest.fixture(scope="module")
def theirs(texts: Texts, tmp_path_factory: pytest.TempPathFactory) -> Losses:
    """The same by llama.cpp, by type of file."""
    source = resolve_model(str(MODEL))
    found = {}
    for kind in ("f32", "q4_0"):
        path = tmp_path_factory.mktemp("gguf") / f"{kind}.gguf"
        export_gguf(source, path, kind)
        oracle = LlamaCppOracle(path, source.config.vocab_size)
        found[kind] = np.concatenate([oracle.losses(text.token_ids) for text in texts])
    return found


def perplexity(losses: np.ndarray) -> float:
    return float(np.exp(losses.mean()))


def test_without_quantization_each_token_is_as_likely_as_in_llama_cpp(ours: Losses, theirs: Losses) -> None:
    assert np.abs(ours["f32"] - theirs["f32"]).max() < 1e-3


def test_int8_keeps_the_perplexity(ours: Losses) -> None:
    assert perplexity(ours["int8"]) <= EIGHT_BITS * perplexity(ours["f32"])


@pytest.mark.parametrize(("quantization", "bar"), [("int4", 1.0), ("int4-all", FOUR_BITS)])
def test_4_bits_lose_no_more_than_llama_cpps_q4_0(
    ours: Losses, theirs: Losses, quantization: str, bar: float
) -> None:
    """Stricter than the bar for int4, whose own loss is below 1 %."""
    lost = perplexity(ours[quantization]) / perplexity(ours["f32"])
    assert lost != 1
    assert lost <= bar * perplexity(theirs["q4_0"]) / perplexity(theirs["f32"])
