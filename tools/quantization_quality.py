"""Measures what quantized weights cost in quality: perplexity and accuracy of the demo model's held-out text.

    python tools/quantization_quality.py --out benchmarks/results/quantization-quality.json

Everything runs on Gradus's own native engine: perplexity from its logits over teacher-forced batches,
accuracy from its greedy answers. With the package `gguf`, one more row shows the weights after a round trip
through llama.cpp's Q4_0 (all layers; the tied head in Q8_0) in f32 arithmetic, as the bar for int4.

Prints a table; the last line of stdout is the evidence as one JSON object. Needs transformers for the
tokenizer and its chat template, so that the text does not depend on the code under test.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gradus import LLM, SamplingParams
from gradus.backends.options import BackendOptions
from gradus.backends.registry import backend_class
from gradus.batch import Backend, Batch, SamplingBatch
from gradus.models.checkpoint.base import Checkpoint, RawTensor
from gradus.models.sources import resolve_model

sys.path.insert(0, str(Path(__file__).resolve().parent))
from score_demo_model import DEFAULT_MODEL, Row, load_rows, prompt_ids, score

KINDS = [  # quantization and activations
    ("none", "f32"),
    ("int8", "f32"),
    ("int8", "int8"),
    ("int4", "f32"),
    ("int4", "int8"),
]
BLOCK_SIZE = 16
MAX_TOKENS = 2048  # of one text
INT8_BAR = 1.005  # times f32's perplexity
INT4_BAR = 1.01  # times that of Q4_0


class Q4Checkpoint:
    """A checkpoint after a round trip of its matrices through llama.cpp's formats, by `gguf`'s arithmetic."""

    def __init__(self, inner: Checkpoint) -> None:
        self._inner = inner
        self.names, self.shape = inner.names, inner.shape

    def read(self, name: str) -> RawTensor:
        import gguf

        raw = self._inner.read(name)
        values = raw.array
        if raw.dtype == "bf16":
            values = (values.astype(np.uint32) << 16).view(np.float32)
        values = np.ascontiguousarray(values, np.float32)
        if values.ndim == 2:
            is_head = name.removesuffix(".weight").endswith(("embed_tokens", "lm_head"))
            kind = gguf.GGMLQuantizationType.Q8_0 if is_head else gguf.GGMLQuantizationType.Q4_0
            values = gguf.quants.dequantize(gguf.quants.quantize(values, kind), kind)
        return RawTensor("f32", values)


def make_backend(model: Path, quantization: str, activations: str) -> Backend:
    source = resolve_model(str(model))
    checkpoint = Q4Checkpoint(source.checkpoint) if quantization == "q4_0" else source.checkpoint
    options = BackendOptions(
        weight_dtype="f32",
        num_threads=os.cpu_count() or 1,
        max_num_batched_tokens=MAX_TOKENS,
        max_num_seqs=1,
        max_model_len=MAX_TOKENS,
        block_size=BLOCK_SIZE,
        num_blocks=MAX_TOKENS // BLOCK_SIZE,
        kv_cache_dtype="f32",
        attention="blocked",
        enforce_eager=False,
        quantization="none" if quantization == "q4_0" else quantization,
        activations=activations,
    )
    return backend_class("native")(source.config, checkpoint, options)


def losses(backend: Backend, ids: Sequence[int]) -> np.ndarray:
    """Minus the log-probability of every token but the first, given those before it."""
    n = len(ids) - 1
    sampling = SamplingBatch(
        temperature=np.zeros(n, np.float32),
        top_p=np.ones(n, np.float32),
        top_k=np.zeros(n, np.int32),
        min_p=np.zeros(n, np.float32),
        seed=np.zeros(n, np.int64),
        choice_index=np.zeros(n, np.int32),
        position=np.arange(1, n + 1, dtype=np.int32),
        num_logprobs=np.full(n, -1, np.int32),
    )
    batch = Batch(
        token_ids=np.array(ids[:-1], np.int32),
        positions=np.arange(n, dtype=np.int32),
        slot_mapping=np.arange(n, dtype=np.int64),
        query_start=np.array([0, n], np.int32),
        context_lens=np.array([n], np.int32),
        block_tables=np.arange(-(-n // BLOCK_SIZE), dtype=np.int32)[None],
        block_copies=np.empty((0, 2), np.int32),
        output_rows=np.arange(n, dtype=np.int32),
        sampling=sampling,
        return_logits=True,
    )
    logits = backend.execute(batch).logits
    assert logits is not None
    logits = logits.astype(np.float64)
    largest = logits.max(axis=1)
    log_sums = largest + np.log(np.exp(logits - largest[:, None]).sum(axis=1))
    return log_sums - logits[np.arange(n), np.asarray(ids[1:])]


def perplexities(rows: list[Row], tokenizer: Any, backend: Backend) -> dict[str, float]:
    """Of the right answers' tokens, and of all tokens but each text's first."""
    answers, everything = [], []
    for row in rows:
        answer = [*tokenizer.encode(row["answer"], add_special_tokens=False), tokenizer.eos_token_id]
        found = losses(backend, prompt_ids(tokenizer, row) + answer)
        everything.append(found)
        answers.append(found[-len(answer) :])
    parts = {"answers": answers, "all_text": everything}
    return {name: math.exp(np.concatenate(part).mean()) for name, part in parts.items()}


def accuracy(model: Path, rows: list[Row], tokenizer: Any, quantization: str, activations: str) -> float:
    llm = LLM(
        model=str(model), dtype="float32", quantization=quantization, activations=activations,
        kv_cache_dtype="f32",
    )  # fmt: skip

    def generate(prompts: Sequence[list[int]], max_tokens: int) -> list[list[int]]:
        params = SamplingParams(temperature=0, max_tokens=max_tokens)
        outputs = llm.generate([{"prompt_token_ids": ids} for ids in prompts], params, use_tqdm=False)
        return [list(output.outputs[0].token_ids) for output in outputs]

    return score(rows, tokenizer, generate)["overall"]


def measure(model: Path, rows: list[Row], tokenizer: Any, kind: tuple[str, str]) -> dict[str, Any]:
    backend = make_backend(model, *kind)
    result: dict[str, Any] = {
        "weights": "f32" if kind[0] == "none" else kind[0],
        "activations": kind[1],
        "perplexity": perplexities(rows, tokenizer, backend),
    }
    if kind[0] != "q4_0":  # whose weights are dequantized here, so that their size is not its own
        result["weight_bytes"] = backend.weight_bytes  # type: ignore[attr-defined]
    backend.close()
    if kind[0] != "q4_0":
        result["accuracy"] = accuracy(model, rows, tokenizer, *kind)
    return result


def bars(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Perplexities with int8 activations against what they may be at most."""
    by_kind = {(r["weights"], r["activations"]): r["perplexity"] for r in results}
    found: dict[str, Any] = {}
    for name in ("answers", "all_text"):
        int8, exact = by_kind["int8", "int8"][name], by_kind["f32", "f32"][name]
        found[f"int8_{name}"] = {"value": int8 / exact, "at_most": INT8_BAR, "met": int8 <= INT8_BAR * exact}
        if ("q4_0", "f32") in by_kind:
            ratio = by_kind["int4", "int8"][name] / by_kind["q4_0", "f32"][name]
            found[f"int4_{name}"] = {"value": ratio, "at_most": INT4_BAR, "met": ratio <= INT4_BAR}
    return found


def print_table(results: list[dict[str, Any]]) -> None:
    exact = results[0]["perplexity"]
    print("| weights | activations | MB | perplexity, answers | perplexity, all text | right answers |")
    print("|---|---|---|---|---|---|")
    for r in results:
        cells = [f"{r['perplexity'][n]:.4f} ({r['perplexity'][n] / exact[n] - 1:+.2%})" for n in exact]
        size = f"{r['weight_bytes'] / 1e6:.2f}" if "weight_bytes" in r else "–"
        right = f"{r['accuracy']:.1%}" if "accuracy" in r else "–"
        print(f"| {r['weights']} | {r['activations']} | {size} | {cells[0]} | {cells[1]} | {right} |")


def evidence(model: Path, results: list[dict[str, Any]], num_rows: int) -> dict[str, Any]:
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "test_name": "quantization-quality",
        "test_date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "hardware": {"machine": platform.machine(), "cpus": os.cpu_count()},
        "software": {"python": platform.python_version(), "numpy": np.__version__},
        "model": model.name,
        "parameters": {"questions": num_rows, "kv_cache_dtype": "f32"},
        "method": "teacher-forced perplexity and greedy accuracy on held_out.jsonl by the native backend; "
        "q4_0: weights quantized and dequantized by the gguf package, the head in Q8_0, f32 arithmetic",
        "results": results,
        "how_obtained": "python tools/quantization_quality.py",
        "verification": bars(results),
        "commit": commit.stdout.strip(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL)
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    args = parser.parse_args()
    from transformers import AutoTokenizer

    rows, tokenizer = load_rows(args.model), AutoTokenizer.from_pretrained(args.model)
    kinds = list(KINDS)
    try:
        import gguf  # noqa: F401

        kinds.append(("q4_0", "f32"))
    except ImportError:
        print("no gguf package: the row of llama.cpp's Q4_0 is left out", file=sys.stderr)
    print(f"{len(rows)} held-out questions", file=sys.stderr)
    results = [measure(args.model, rows, tokenizer, kind) for kind in kinds]
    print_table(results)
    document = evidence(args.model, results, len(rows))
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document))


if __name__ == "__main__":
    main()
