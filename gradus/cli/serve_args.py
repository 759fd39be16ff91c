"""The flags of `gradus bench serve`, named as `vllm bench serve` names them, and what they say."""

import argparse
import math
import os
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from gradus.cli.engine_args import add_engine_arguments
from gradus.cli.flags import flag_of, given_flags
from gradus.cli.workload_args import add_workload_option, with_options
from gradus.config import EngineConfig
from gradus.errors import ConfigError
from gradus.options import settings_of

if TYPE_CHECKING:
    from gradus.bench.serve.options import ServeOptions
    from gradus.bench.workloads.base import Workload
    from gradus.text.tokenizer import Tokenizer

_APIS = {"openai": "/v1/completions", "vllm": "/v1/completions", "openai-chat": "/v1/chat/completions"}
_METRICS = ("ttft", "tpot", "itl", "e2el")
_RANDOM = {"num_requests": 16, "input_len": 1024, "output_len": 128}
_SAMPLING = (
    ("temperature", float),
    ("top-p", float),
    ("top-k", int),
    ("min-p", float),
    ("repetition-penalty", float),
    ("presence-penalty", float),
    ("frequency-penalty", float),
)


def add_serve_arguments(parser: argparse.ArgumentParser) -> None:
    """The server, the requests, and what is reported of them."""
    # vllm bench serve means other things by these two
    add_engine_arguments(parser, leave_out=("seed", "backend"))
    _add_server_arguments(parser.add_argument_group("server (without an address: one of MODEL is started)"))
    _add_request_arguments(parser.add_argument_group("requests"))
    _add_result_arguments(parser.add_argument_group("results"))


def _add_server_arguments(group: Any) -> None:
    group.add_argument("--base-url", metavar="URL", help="of a server that runs, without the endpoint")
    group.add_argument("--host", help="the same in parts (default: 127.0.0.1)")
    group.add_argument("--port", type=int, metavar="N", help="default: 8000")
    group.add_argument("--backend", dest="api", choices=_APIS, default="openai", help="default: %(default)s")
    group.add_argument("--endpoint", metavar="PATH", help="default: the backend's")
    group.add_argument(
        "--model", dest="served_model", metavar="NAME", help="what bodies name (default: the first it lists)"
    )
    group.add_argument(
        "--served-model-name", metavar="NAME", help="the same, where --model names the tokenizer's"
    )
    group.add_argument(
        "--tokenizer", metavar="MODEL", help="a directory, .gguf file or hub name (default: the model's)"
    )
    group.add_argument(
        "--prompts-as",
        choices=("token-ids", "text"),
        default="token-ids",
        help="text: for servers that take no token ids, such as Ollama; chats always are",
    )


def _add_request_arguments(group: Any) -> None:
    group.add_argument(
        "--dataset-name",
        "--workload",
        metavar="NAME",
        help="random, sharegpt, or any workload (default: reference; random if its lengths are given)",
    )
    group.add_argument("--dataset-path", metavar="FILE", help="sharegpt: conversations in its format")
    add_workload_option(group)
    group.add_argument("--num-prompts", type=int, metavar="N", help="default: the workload's; random: 16")
    for name, usual in (("input-len", 1024), ("output-len", 128)):
        flags = (f"--random-{name}", f"--{name}")
        group.add_argument(*flags, type=int, metavar="N", help=f"default: {usual}")
    group.add_argument(
        "--request-rate", type=float, default=math.inf, metavar="X", help="per second (default: inf)"
    )
    group.add_argument("--burstiness", type=float, metavar="X", help="of arrivals; 1 is Poisson (default: 1)")
    group.add_argument(
        "--max-concurrency", type=int, metavar="N", help="default: the workload's; with a rate, any number"
    )
    group.add_argument(
        "--ignore-eos",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="every answer has its full length (default: on)",
    )
    for name, kind in _SAMPLING:
        default = 0.0 if name == "temperature" else None
        group.add_argument(f"--{name}", type=kind, default=default, metavar="X", help="of every request")
    group.add_argument("--seed", dest="load_seed", type=int, default=0, metavar="N", help="of prompts")
    group.add_argument("--num-warmups", type=int, default=1, metavar="N", help="sent first and left out")
    group.add_argument("--runs", type=int, default=5, metavar="N", help="default: %(default)s")


def _add_result_arguments(group: Any) -> None:
    group.add_argument(
        "--percentile-metrics", default=",".join(_METRICS), metavar="NAMES", help="default: %(default)s"
    )
    group.add_argument("--metric-percentiles", default="99", metavar="N,N", help="default: %(default)s")
    group.add_argument(
        "--goodput", nargs="+", default=[], metavar="NAME:MS", help="such as ttft:200 tpot:50 e2el:5000"
    )
    group.add_argument("--save-result", action="store_true", help="write the evidence into --result-dir")
    group.add_argument("--result-dir", type=Path, metavar="DIR", help="default: here")
    group.add_argument("--result-filename", metavar="NAME", help="default: serve-DATE.json")


def url_of(args: argparse.Namespace) -> str | None:
    """Where the server is; None: one is to be started.

    Raises:
        ConfigError: the address is given twice, is none, or comes with flags of a server to be started; or
            none is given, and flags are of a server that runs.
    """
    if args.base_url is not None and (args.host is not None or args.port is not None):
        raise ConfigError("--base-url comes with --host or --port; give one or the other")
    if args.base_url is None and args.host is None and args.port is None:
        _check_own_server(args)
        return None
    own = [flag_of(name) for name in given_flags(args, settings_of(EngineConfig)) if name != "model"]
    if args.model is not None or own:
        what = "MODEL" if args.model is not None else own[0]
        raise ConfigError(
            f"{what} is for a server that is started here, but an address of one that runs is given; say "
            "with --model what that server calls its model, and with --tokenizer whose tokens it has"
        )
    if args.base_url is not None:
        return _checked_url(args.base_url)
    port = 8000 if args.port is None else args.port
    return _checked_url(f"http://{args.host or '127.0.0.1'}:{port}")


def _check_own_server(args: argparse.Namespace) -> None:
    if args.model is not None and args.served_model is not None:
        raise ConfigError("MODEL and --model both say which model to start; give one")
    if args.served_model_name is not None:
        raise ConfigError("--served-model-name is what a server that runs calls its model; say where it is")


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    try:
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port is no number, or beyond those that there are
        is_address = False
    if not is_address:
        raise ConfigError(
            f"the server's address is {url!r}; it must be http://HOST:PORT or https://HOST:PORT"
        )
    return url


def api_key() -> str | None:
    """What is sent to a server that wants a key; never on the command line, which is kept as evidence."""
    return os.environ.get("OPENAI_API_KEY")


def tokenizer_of(args: argparse.Namespace, own_model: str | None) -> "Tokenizer":
    """Raises:
    ConfigError: nothing says which.
    """
    from gradus.bench.tokenizers import find_tokenizer

    name = args.tokenizer or own_model or args.served_model
    if name is None:
        raise ConfigError("prompts are made of a model's tokens; say with --tokenizer whose")
    return find_tokenizer(name)


def serve_options(args: argparse.Namespace, tokenizer: "Tokenizer") -> "ServeOptions":
    """Raises:
    ConfigError: a value that cannot work.
    """
    from gradus.bench.goodput import objectives
    from gradus.bench.serve.options import ServeOptions

    names = [name.replace("-", "_") for name, _ in _SAMPLING]
    return ServeOptions(
        workload=_workload(args).with_tokenizer(tokenizer.encode),
        endpoint=args.endpoint or _APIS[args.api],
        sends_text=args.prompts_as == "text",
        ignore_eos=args.ignore_eos,
        sampling={name: getattr(args, name) for name in names if getattr(args, name) is not None},
        seed=args.load_seed,
        num_warmups=args.num_warmups,
        num_runs=args.runs,
        percentiles=_numbers("--metric-percentiles", args.metric_percentiles),
        goodput=objectives(args.goodput),
    )


def shown_metrics(args: argparse.Namespace) -> list[str]:
    """Raises:
    ConfigError: there is no such metric.
    """
    names = [name.strip() for name in args.percentile_metrics.split(",")]
    if unknown := [name for name in names if name not in _METRICS]:
        raise ConfigError(f"--percentile-metrics has {unknown[0]!r}; it knows {', '.join(_METRICS)}")
    return names


def result_path(args: argparse.Namespace) -> Path | None:
    """Where the evidence is kept: `--output`, or what vLLM's flags say."""
    if not (args.save_result or args.result_dir or args.result_filename):
        return args.output
    if args.output is not None:
        raise ConfigError("--output comes with --save-result, --result-dir or --result-filename; give one")
    name = args.result_filename or f"serve-{datetime.now():%Y%m%d-%H%M%S}.json"
    return (args.result_dir or Path()) / name


def _workload(args: argparse.Namespace) -> "Workload":
    from gradus.bench.workloads.registry import changed_workload

    numbers: dict[str, float | None] = {"num_requests": args.num_prompts}
    lengths = {"input_len": args.random_input_len, "output_len": args.random_output_len}
    has_lengths = any(value is not None for value in lengths.values())
    name = args.dataset_name or ("random" if has_lengths else "reference")
    if name == "random":
        given = {field: value for field, value in (numbers | lengths).items() if value is not None}
        name, numbers = "reference", _RANDOM | given
        numbers["concurrency"] = numbers["num_requests"]
    elif has_lengths:
        raise ConfigError(f"--random-input-len and --random-output-len are of random, not of {name}")
    if args.request_rate != math.inf:
        numbers |= {"request_rate": args.request_rate, "concurrency": None}
    if args.max_concurrency is not None:
        numbers["concurrency"] = args.max_concurrency
    numbers |= {"burstiness": args.burstiness}
    return changed_workload(name, args.dataset_path, **with_options(numbers, args.workload_option))


def _numbers(flag: str, text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"{flag} is {text!r}; it must be numbers with commas between") from None
