"""Measures what quantized weights cost in quality: perplexity and accuracy of the demo model's held-out text.

    python tools/quantization_quality.py --out benchmarks/results/quantization-quality.json

Gradus's rows are measured as `gradus bench accuracy` measures them, which needs no other engine. Here the bar
for int4 is llama.cpp itself (package `xllamacpp`) on the same tokens, with the model in an f32 and in a Q4_0
file. Both are what `gradus convert` writes; `--q4-0` names a Q4_0 file by llama.cpp's own quantizer.

Prints a table; the last line of stdout is the evidence as one JSON object. Needs transformers for the
tokenizer and its chat template, so that the text does not depend on the code under test.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gradus.bench.accuracy.compare import measure
from gradus.bench.accuracy.held_out import Question, load_questions
from gradus.bench.accuracy.kinds import EIGHT_BITS, EXACT, FOUR_BITS, KINDS, Kind
from gradus.bench.accuracy.quality import Text, perplexities
from gradus.bench.evidence import evidence
from gradus.export.gguf import export_gguf
from gradus.models.sources import resolve_model

sys.path.insert(0, str(Path(__file__).resolve().parent))
from llama_cpp_oracle import LlamaCppOracle
from score_demo_model import DEFAULT_MODEL, prompt_ids

QUANTIZED = ("int8-f32", "int8", "int4-f32", "int4", "int4-all")


def texts_of(rows: list[Question], tokenizer: Any) -> list[Text]:
    """Prompts and right answers, which end with the end of the turn."""
    return [
        Text(
            prompt_ids(tokenizer, row),
            [*tokenizer.encode(row["answer"], add_special_tokens=False), tokenizer.eos_token_id],
        )
        for row in rows
    ]


def measure_kind(model: Path, kind: Kind, rows: list[Question], texts: list[Text]) -> dict[str, Any]:
    quality = measure(kind, kind.config(str(model), None, Path()), rows, texts)
    return {
        "weights": kind.weights,
        "activations": kind.activations,
        "perplexity": quality.perplexities(texts),
        "weight_bytes": quality.weight_bytes,
        "accuracy": sum(quality.right) / len(rows),
    }


def measure_llama_cpp(model: Path, texts: list[Text], q4_0: Path | None = None) -> list[dict[str, Any]]:
    """llama.cpp on the model in f32 and in Q4_0, by its exporter or as the file `q4_0`."""
    source, results = resolve_model(str(model)), []
    with tempfile.TemporaryDirectory() as directory:
        for kind, activations in (("f32", "f32"), ("q4_0", "int8")):
            path = q4_0 if kind == "q4_0" and q4_0 else Path(directory) / f"{kind}.gguf"
            if path != q4_0:
                export_gguf(source, path, kind)
            oracle = LlamaCppOracle(path, source.config.vocab_size)
            perplexity = perplexities(texts, [oracle.losses(text.token_ids) for text in texts])
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
            ("int8", exact, EIGHT_BITS),
            ("int4", q4_0, FOUR_BITS),
            ("int4-all", q4_0, FOUR_BITS),
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


def document_of(model: Path, results: list[dict[str, Any]], num_rows: int, q4_0: str) -> dict[str, Any]:
    """The evidence."""
    return evidence(
        "quantization-quality",
        software={"xllamacpp": version("xllamacpp")},
        model={"name": model.name},
        parameters={"questions": num_rows, "kv_cache_dtype": "f32"},
        method="teacher-forced perplexity and greedy accuracy on held_out.jsonl by the native backend; "
        f"llama.cpp: perplexity of the same tokens by xllamacpp, f32 KV cache, {q4_0}",
        results={f"{r['weights']}, activations {r['activations']}": r for r in results},
        runs=[],
        verification=bars(results),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL)
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    parser.add_argument("--q4-0", type=Path, metavar="FILE", help="Q4_0 by llama.cpp's quantizer")
    args = parser.parse_args()
    from transformers import AutoTokenizer

    rows = load_questions(args.model)
    texts = texts_of(rows, AutoTokenizer.from_pretrained(args.model))
    print(f"{len(rows)} held-out questions", file=sys.stderr)
    results = [
        measure_kind(args.model, kind, rows, texts) for kind in (EXACT, *map(KINDS.__getitem__, QUANTIZED))
    ]
    results += measure_llama_cpp(args.model, texts, args.q4_0)
    print_table(results)
    writer = "llama.cpp's quantizer" if args.q4_0 else "gradus convert"
    document = document_of(args.model, results, len(rows), f"Q4_0 by {writer}")
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document))


if __name__ == "__main__":
    main()
