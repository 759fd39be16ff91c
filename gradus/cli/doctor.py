"""`gradus doctor [MODEL]`: the machine, the kernels, whether a model fits and how fast it should be.

Exit code 1 where the model does not fit.
"""

import argparse
import json
import sys
from typing import Any

from gradus.cli import exit_codes
from gradus.cli.engine_args import add_engine_arguments, engine_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_engine_arguments(parser)
    parser.set_defaults(model=None)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def run(args: argparse.Namespace) -> int:
    model, args.model = args.model, args.model or "demo"
    config = engine_config(args)
    from gradus.bench import doctor
    from gradus.models.outline import outline_model

    outline = outline_model(config.model) if model is not None else None
    if not args.json:
        print("measuring, a few seconds ...", file=sys.stderr, flush=True)
    machine = doctor.measure_machine(config)
    report = doctor.describe_machine(machine)
    if outline is None:
        report["sizes"] = doctor.describe_sizes(machine)
    else:
        report["model"] = doctor.describe_model(machine, config, outline)
    print(json.dumps(report, ensure_ascii=False) if args.json else "\n".join(_text(report)))
    fits = outline is None or report["model"]["memory"]["fits"]
    return exit_codes.DONE if fits else exit_codes.FAILED


def _text(report: dict[str, Any]) -> list[str]:
    lines = _machine_text(report)
    if "model" in report:
        return lines + _memory_text(report["model"]) + _decode_text(report["model"], report)
    return lines + _sizes_text(report["sizes"])


def _machine_text(report: dict[str, Any]) -> list[str]:
    found, read, kernels = report["hardware"], report["memory_read"], report["kernels"]
    total = f" of {_gb(found['memory_bytes'])}" if "memory_bytes" in found else ""
    rate = read["bytes_per_second"]
    return [
        "Machine",
        f"  CPU       {found.get('cpu', 'unknown')}, {found['cpus_used_at_most']} of "
        f"{found['cpus_present']} cores may be used",
        f"  features  {' '.join(found.get('cpu_features', ['unknown']))}",
        f"  memory    {_gb(found['free_memory_bytes'])} free{total}",
        f"  reading   {_gb(rate['median'])}/s with {read['num_threads']} threads "
        f"(passes from {_gb(rate['min'])}/s to {_gb(rate['max'])}/s)",
        f"  kernels   {kernels['variant']} for weights in {', '.join(kernels['by_weight_type'])} "
        f"(this CPU runs {', '.join(kernels['available'])})",
    ]


def _sizes_text(sizes: list[dict[str, Any]]) -> list[str]:
    lines = ["What would run here, in bf16 (gradus doctor MODEL looks closer)"]
    for size in sizes:
        speed = f"at most {size['tokens_per_second_at_most']:.1f} tokens/s per stream"
        weights = f"{_gb(size['weight_bytes'])} of weights"
        lines.append(f"  {size['name']:<12}{weights:>20}, {speed if size['fits'] else 'does not fit'}")
    return lines


def _memory_text(model: dict[str, Any]) -> list[str]:
    memory = model["memory"]
    verdict = "fits" if memory["fits"] else "DOES NOT FIT"
    here = "" if model["weights_are_here"] else "; its weights are not downloaded yet"
    lines = [
        f"Model {model['name']} ({model['architecture']}): {verdict}{here}",
        f"  weights   {_gb(memory['weight_bytes'])} as {_weight_type(memory)}, and about "
        f"{_gb(memory['working_bytes'])} to compute in",
        f"  KV cache  {memory['kv_bytes_per_token']:,} bytes per token as {memory['kv_cache_dtype']}, "
        f"read by {memory['attention']} attention; "
        f"{memory['kv_cache_tokens']:,} tokens by default ({_gb(memory['kv_cache_bytes'])}), "
        f"{memory['kv_cache_tokens_at_most']:,} if it took all that is free",
        f"  holds     {memory['requests_of_full_length']:,} requests of {memory['max_model_len']:,} tokens, "
        f"or {memory['requests_of_1024_tokens']:,} of 1,024, at a time",
    ]
    if not memory["fits"]:
        lines.append(
            "  way out   a smaller model, --quantization int4, --dtype bfloat16 if it is f32, or less cache: "
            "--kv-cache-memory-bytes, --max-model-len"
        )
    return lines


def _weight_type(memory: dict[str, Any]) -> str:
    widths = list(memory["stored_widths"]) or [memory["quantization"]]
    if widths == ["none"]:
        return str(memory["weight_dtype"])
    return f"{' and '.join(widths)} with activations in {memory['activations']}"


def _decode_text(model: dict[str, Any], report: dict[str, Any]) -> list[str]:
    decode = model["decode"]
    lines = [
        f"Decoding one stream of about {decode['context']} tokens",
        f"  reads     {_gb(decode['bytes_per_token'])} per token: "
        f"{decode['tokens_per_second_at_memory_speed']:,.1f} tokens/s at the speed of memory alone",
    ]
    if "no_prediction" in decode:
        return [*lines, f"  expected  not known: {decode['no_prediction']}"]
    speed, rate, cut = decode["tokens_per_second"], decode["bytes_per_second"], decode["measured_on"]
    caches = report["hardware"].get("last_level_cache_bytes")
    if caches is not None and cut["weight_bytes"] < caches:
        lines.append("            (more is possible: these weights stay in the CPU's cache)")
    return [
        *lines,
        f"  expected  {speed['median']:,.1f} tokens/s (from {speed['min']:,.1f} to {speed['max']:,.1f}): "
        f"kernels and engine get through {_gb(rate['median'])}/s,",
        f"            measured just now on {cut['layers']} of its {cut['of_layers']} layers with made-up "
        "weights, and assumed for the rest",
    ]


def _gb(num_bytes: float) -> str:
    return f"{num_bytes / 1e9:,.2f} GB" if num_bytes >= 1e8 else f"{num_bytes / 1e6:,.1f} MB"
