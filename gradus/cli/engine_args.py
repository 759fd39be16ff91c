"""The flags that every command which loads a model shares, and their way into an `EngineConfig`."""

import argparse
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from gradus.config import BLOCK_SIZES, EngineConfig
from gradus.disk_cache.folder import parse_size
from gradus.sampling_params import SamplingParams

_DEFAULTS = EngineConfig()
_SAMPLING_FLAGS = (
    ("--temperature", float, "0 is greedy (default: the model's recommendation, else 0)"),
    ("--top-p", float, "in (0, 1] (default: the model's recommendation, else 1)"),
    ("--top-k", int, "0 is off (default: the model's recommendation, else 0)"),
    ("--min-p", float, "0 is off (default: the model's recommendation, else 0)"),
    ("--repetition-penalty", float, "1 is off (default: the model's recommendation, else 1)"),
    ("--presence-penalty", float, "-2 to 2 (default: 0)"),
    ("--frequency-penalty", float, "-2 to 2 (default: 0)"),
    ("--min-tokens", int, "nothing ends the text before so many tokens (default: 0)"),
)


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """One flag per field of `EngineConfig`; destinations are the fields' names."""
    parser.add_argument(
        "model",
        nargs="?",
        default=_DEFAULTS.model,
        help="demo (embedded, the default), dummy:NAME, a local directory, a .gguf file, or a hub name",
    )
    _add_model_arguments(parser.add_argument_group("model"))
    _add_scheduler_arguments(parser.add_argument_group("scheduler"))
    _add_cache_arguments(parser.add_argument_group("KV cache"))


def engine_config(args: argparse.Namespace) -> EngineConfig:
    """Raises:
    ConfigError: a value that cannot work.
    """
    values: dict[str, Any] = vars(args)
    return EngineConfig(**{f.name: values[f.name] for f in fields(EngineConfig)})


def add_sampling_arguments(parser: argparse.ArgumentParser, *, max_tokens: int | None) -> None:
    group = parser.add_argument_group("sampling")
    group.add_argument("--max-tokens", type=int, default=max_tokens, help="tokens to generate at most")
    for flag, kind, text in _SAMPLING_FLAGS:
        group.add_argument(flag, type=kind, default=None, help=text)
    group.add_argument("--sampling-seed", type=int, default=None, help="makes sampling reproducible")
    group.add_argument(
        "--stop", action="append", default=[], metavar="TEXT", help="ends the text; repeatable"
    )
    group.add_argument(
        "--bad-word", action="append", default=[], metavar="TEXT", help="is not generated; repeatable"
    )
    group.add_argument("--ignore-eos", action="store_true", help="go on after the end of the sequence")


def sampling_params(args: argparse.Namespace, defaults: Mapping[str, Any]) -> SamplingParams:
    """Of the flags, and of `defaults`, the model's own, for those that were not given; greedy without either.

    Raises:
        InvalidRequestError: a value out of its range.
    """
    names = [flag.removeprefix("--").replace("-", "_") for flag, _, _ in _SAMPLING_FLAGS]
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    return SamplingParams(
        **{"temperature": 0.0, **defaults, **given},
        max_tokens=args.max_tokens,
        seed=args.sampling_seed,
        stop=args.stop,
        bad_words=args.bad_word,
        ignore_eos=args.ignore_eos,
    )


def _add_model_arguments(group: Any) -> None:
    group.add_argument("--dtype", default=_DEFAULTS.dtype, help="auto, float32, bfloat16 or float16")
    group.add_argument(
        "--quantization",
        default=_DEFAULTS.quantization,
        choices=("none", "int8", "int4", "int4-all"),
        help="bits of the weights; int4 leaves the head 8 (default: none, the dtype's)",
    )
    group.add_argument(
        "--activations",
        default=_DEFAULTS.activations,
        choices=("auto", "int8", "f32"),
        help="what quantized weights are multiplied by (default: auto, which is int8)",
    )
    group.add_argument(
        "--backend", default=_DEFAULTS.backend, choices=("native", "torch"), help="torch: the reference"
    )
    group.add_argument(
        "--num-threads", "--threads", type=int, metavar="N", help="default: the CPUs it may use"
    )
    group.add_argument("--max-model-len", type=int, metavar="TOKENS", help="default: the model's context")
    group.add_argument(
        "--attention", default=_DEFAULTS.attention, choices=("blocked", "naive"), help="naive: the off path"
    )
    group.add_argument("--enforce-eager", action="store_true", help="run op by op, do not replay a program")
    group.add_argument(
        "--no-packed-cache",
        dest="packed_cache",
        action="store_false",
        help="pack the weights anew, and keep nothing on disk",
    )
    group.add_argument(
        "--packed-cache-size",
        type=_bytes,
        metavar="SIZE",
        help="of all that is kept on disk (default: $GRADUS_CACHE_SIZE, else 32G)",
    )
    group.add_argument(
        "--no-huge-pages",
        dest="huge_pages",
        action="store_false",
        help="leave mapped weights in the pages that the file system keeps them in",
    )
    group.add_argument(
        "--generation-config",
        default=_DEFAULTS.generation_config,
        metavar="SOURCE",
        help="of sampling defaults: auto (the model's file), vllm (none), or a directory with such a file",
    )
    group.add_argument("--seed", type=int, help="of the seeds that requests without their own draw")


def _add_scheduler_arguments(group: Any) -> None:
    group.add_argument("--max-num-batched-tokens", type=int, metavar="N", help="tokens in one step at most")
    group.add_argument(
        "--max-num-seqs",
        type=int,
        default=_DEFAULTS.max_num_seqs,
        metavar="N",
        help="sequences at once at most (default: %(default)s)",
    )
    group.add_argument(
        "--no-chunked-prefill",
        dest="enable_chunked_prefill",
        action="store_false",
        help="each prompt in one step",
    )
    group.add_argument(
        "--no-prefix-caching",
        dest="enable_prefix_caching",
        action="store_false",
        help="compute every prompt in full",
    )
    group.add_argument(
        "--no-jump-forward",
        dest="enable_jump_forward",
        action="store_false",
        help="sample each token of structured outputs, even where there is no choice",
    )
    group.add_argument(
        "--batching",
        default=_DEFAULTS.batching,
        choices=("continuous", "static"),
        help="static: admit only when nothing runs",
    )
    group.add_argument(
        "--scheduling",
        default=_DEFAULTS.scheduling,
        choices=("mixed", "separated"),
        help="separated: prompts and outputs never share a step",
    )
    group.add_argument(
        "--scheduling-policy",
        default=_DEFAULTS.scheduling_policy,
        choices=("fcfs", "priority"),
        help="default: %(default)s",
    )


def _add_cache_arguments(group: Any) -> None:
    group.add_argument(
        "--block-size",
        type=int,
        default=_DEFAULTS.block_size,
        choices=BLOCK_SIZES,
        help="tokens per KV block (default: %(default)s)",
    )
    group.add_argument(
        "--kv-cache-dtype",
        default=_DEFAULTS.kv_cache_dtype,
        choices=("auto", "f16", "f32"),
        help="auto: f32 with f32 weights, else f16",
    )
    group.add_argument("--kv-cache-memory", type=_bytes, metavar="SIZE", help="for example 2G or 512M")
    group.add_argument("--num-kv-blocks", type=int, metavar="N", help="the same in blocks")
    group.add_argument(
        "--kv-layout",
        default=_DEFAULTS.kv_layout,
        choices=("paged", "contiguous"),
        help="contiguous: one slab per sequence",
    )


def _bytes(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; write bytes, or 512M, or 2G") from None
