"""`gradus bench decode`: one stream's speed, predicted and measured."""

import argparse
from typing import TYPE_CHECKING, Any

from gradus.cli.engine_args import add_engine_arguments, engine_config

if TYPE_CHECKING:
    from gradus.bench.decode import DecodeRun


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_engine_arguments(parser)
    group = parser.add_argument_group("workload")
    group.add_argument("--prompt-tokens", type=int, default=32, metavar="N", help="default: %(default)s")
    group.add_argument("--output-tokens", type=int, default=128, metavar="N", help="default: %(default)s")
    group.add_argument("--runs", type=int, default=5, metavar="N", help="default: %(default)s")


def run(args: argparse.Namespace) -> int:
    config = engine_config(args)
    from gradus.bench.decode import DecodeSettings, bench_decode
    from gradus.cli.bench_output import bench_progress, finish

    settings = DecodeSettings(
        prompt_tokens=args.prompt_tokens, output_tokens=args.output_tokens, num_runs=args.runs
    )
    print(
        f"{config.model}: {settings.num_runs} runs of {settings.prompt_tokens} tokens in, "
        f"{settings.output_tokens} out, one stream",
        flush=True,
    )
    runs: list[DecodeRun] = []
    with bench_progress(settings.num_runs) as report:

        def note(run: "DecodeRun") -> None:
            runs.append(run)
            report(f"{run.tokens_per_second:,.1f} tokens/s")

        document = bench_decode(config, settings, note)
    print("run   predicted tokens/s   measured tokens/s   first token ms")
    for number, run in enumerate(runs, 1):
        _print_run(number, run)
    results = document["results"]
    _print_row(
        "median",
        results["predicted_tokens_per_second"]["median"],
        results["tokens_per_second"]["median"],
        results["first_token_seconds"]["median"],
    )
    print(f"measured / predicted: {_spread(results['measured_over_predicted'])}")
    return finish(document, args)


def _print_run(number: int, run: "DecodeRun") -> None:
    _print_row(str(number), run.predicted.tokens_per_second, run.tokens_per_second, run.first_token_seconds)


def _print_row(name: str, predicted: float, measured: float, first_token_seconds: float) -> None:
    print(f"{name:6}{predicted:>18.1f}{measured:>20.1f}{1000 * first_token_seconds:>17.1f}", flush=True)


def _spread(values: dict[str, Any]) -> str:
    return f"{values['median']:.2f} (from {values['min']:.2f} to {values['max']:.2f})"
