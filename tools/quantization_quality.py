"""Measures what quantized weights cost in quality: perplexity and accuracy of the demo model's held-out text.

    python tools/quantization_quality.py --out benchmarks/results/quantization-quality.json

Gradus's rows run on its own native engine: perplexity from its logits over teacher-forced batches, accuracy
from its greedy answers. The bar for int4 is llama.cpp itself (package `xllamacpp`) on the same tokens, with
the model in an f32 and in a Q4_0 file. Both are what `gradus convert` writes; `--q4-0` names a Q4_0 file by
llama.cpp's own quantizer.

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
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from gradus import LLM, SamplingParams
from gradus.backends.options import BackendOptions
from gradus.backends.registry import backend_class
from gradus.batch import Backend, Batch, SamplingBatch
from gradus.export.gguf import export_gguf
from gradus.models.sources import resolve_model

sys.path.insert(0, str(Path(__file__).resolve().parent))
from llama_cpp_oracle import LlamaCppOracle
from score_demo_model import DEFAULT_MODEL, Row, load_rows, prompt_ids, score

KINDS = [  # quantization and activations
    ("none", "f32"),
    ("int8", "f32"),
    ("int8", "int8"),
    ("int4", "f32"),
    ("int4", "int8"),
    ("int4-all", "int8"),
]
BLOCK_SIZE = 16
MAX_TOKENS = 2048  # of one text
INT8_BAR = 1.005  # times f32's perplexity
INT4_BAR = 1.01  # times llama.cpp's of Q4_0

Losses = Callable[[Sequence[int]], np.ndarray]
"""Minus the log-probability of every token but the first, given those before it."""


def make_backend(model: Path, quantization: str, activations: str) -> Backend:
    source = resolve_model(str(model))
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
        quantization=quantization,
        activations=activations,
    )
    return backend_class("native")(source.config, source.checkpoint, options)


def losses(backend: Backend, ids: Sequence[int]) -> np.ndarray:
    """As `Losses`, from the logits of one forward pass."""
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


def perplexities(rows: list[Row], tokenizer: Any, losses_of: Losses) -> dict[str, float]:
    """Of the right answers' tokens, and of all tokens but each text's first."""
    answers, everything = [], []
    for row in rows:
        answer = [*tokenizer.encode(row["answer"], add_special_tokens=False), tokenizer.eos_token_id]
        found = losses_of(prompt_ids(tokenizer, row) + answer)
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
    result = {
        "weights": "f32" if kind[0] == "none" else kind[0],
        "activations": kind[1],
        "perplexity": perplexities(rows, tokenizer, lambda ids: losses(backend, ids)),
        "weight_bytes": backend.weight_bytes,  # type: ignore[attr-defined]
    }
    backend.close()
    return result | {"accuracy": accuracy(model, rows, tokenizer, *kind)}


def measure_llama_cpp(
    model: Path, rows: list[Row], tokenizer: Any, q4_0: Path | None = None
) -> list[dict[str, Any]]:
    """llama.cpp on the model in f32 and in Q4_0, by its exporter or as the file `q4_0`."""
    source, results = resolve_model(str(model)), []
    with tempfile.TemporaryDirectory() as directory:
        for kind, activations in (("f32", "f32"), ("q4_0", "int8")):
            path = q4_0 if kind == "q4_0" and q4_0 else Path(directory) / f"{kind}.gguf"
            if path != q4_0:
                export_gguf(source, path, kind)
            oracle = LlamaCppOracle(path, source.config.vocab_size)
            perplexity = perplexities(rows, tokenizer, oracle.losses)
            results.append(
                {"weights": f"llama.cpp {kind}", "activations": activations, "perplexity": perplexity}
            )
    return results


def bars(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Perplexities with int8 activations against what they may be at most, and losses against f32."""
    by_kind = {(r["weights"], r["activations"]): r["perplexity"] for r in results}
    found: dict[str, Any] = {}
    for name in ("answers", "all_text"):
        exact, theirs = by_kind["f32", "f32"][name], by_kind["llama.cpp f32", "f32"][name]
        q4_0 = by_kind["llama.cpp q4_0", "int8"][name]
        for kind, reference, bar in (
            ("int8", exact, INT8_BAR),
            ("int4", q4_0, INT4_BAR),
            ("int4-all", q4_0, INT4_BAR),
        ):
            ratio = by_kind[kind, "int8"][name] / reference
            found[f"{kind}_{name}"] = {"value": ratio, "at_most": bar, "met": ratio <= bar}
        found[f"f32_{name}_against_llama_cpp"] = exact / theirs
        found[f"lost_{name}"] = {"int4": by_kind["int4", "int8"][name] / exact - 1, "q4_0": q4_0 / theirs - 1}
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


def evidence(model: Path, results: list[dict[str, Any]], num_rows: int, q4_0: str) -> dict[str, Any]:
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "test_name": "quantization-quality",
        "test_date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "hardware": {"machine": platform.machine(), "cpus": os.cpu_count()},
        "software": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "xllamacpp": version("xllamacpp"),
        },
        "model": model.name,
        "parameters": {"questions": num_rows, "kv_cache_dtype": "f32"},
        "method": "teacher-forced perplexity and greedy accuracy on held_out.jsonl by the native backend; "
        f"llama.cpp: perplexity of the same tokens by xllamacpp, f32 KV cache, {q4_0}",
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
    parser.add_argument("--q4-0", type=Path, metavar="FILE", help="Q4_0 by llama.cpp's quantizer")
    args = parser.parse_args()
    from transformers import AutoTokenizer

    rows, tokenizer = load_rows(args.model), AutoTokenizer.from_pretrained(args.model)
    print(f"{len(rows)} held-out questions", file=sys.stderr)
    results = [measure(args.model, rows, tokenizer, kind) for kind in KINDS]
    results += measure_llama_cpp(args.model, rows, tokenizer, args.q4_0)
    print_table(results)
    writer = "llama.cpp's quantizer" if args.q4_0 else "gradus convert"
    document = evidence(args.model, results, len(rows), f"Q4_0 by {writer}")
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document))


if __name__ == "__main__":
    main()
