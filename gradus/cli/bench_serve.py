"""`gradus bench serve`: an OpenAI-compatible server under a workload; one that runs, or one of our own."""

import argparse
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from gradus.cli.engine_args import engine_config
from gradus.cli.serve_args import (
    add_serve_arguments,
    api_key,
    result_path,
    serve_options,
    shown_metrics,
    tokenizer_of,
    url_of,
)

if TYPE_CHECKING:
    from gradus.bench.serve.run import ServedRun

_TITLES = {
    "ttft": "time to first token",
    "tpot": "time per output token",
    "itl": "inter-token latency",
    "e2el": "end-to-end latency",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_serve_arguments(parser)


def run(args: argparse.Namespace) -> int:
    url, metrics = url_of(args), shown_metrics(args)
    args.output = result_path(args)
    if url is None:
        args.model = args.model or args.served_model
    config = None if url is not None else engine_config(args)
    from gradus.bench.clients.own_server import OwnServer
    from gradus.bench.evidence import engine_parameters
    from gradus.bench.serve.bench import bench_serve
    from gradus.cli.bench_output import bench_progress, finish, print_table

    tokenizer = tokenizer_of(args, None if config is None else config.model)
    options = serve_options(args, tokenizer)
    print(
        f"{url or 'a server of ' + str(args.model or 'demo')}{options.endpoint}, {options.workload.name}: "
        f"{options.workload.summary}; {options.num_runs} runs",
        flush=True,
    )
    with ExitStack() as stack:
        if config is not None:
            url = stack.enter_context(OwnServer(config)).url
        report = stack.enter_context(bench_progress(options.num_runs))

        def note(run: "ServedRun") -> None:
            report(f"{len(run.timings):,} answered, {len(run.failures):,} failed in {run.seconds:,.1f} s")

        document = bench_serve(
            str(url),
            tokenizer,
            options,
            note,
            model=None if config is not None else args.served_model_name or args.served_model,
            server=None if config is None else engine_parameters(config),
            api_key=None if config is not None else api_key(),
        )
    print_table(("what", "value"), _rows(document["results"]))
    print_table(*_latency_table(document["results"]["latencies"], metrics))
    for failure in {text for run in document["runs"] for text in run.get("failures", ())}:
        print(f"failed: {failure}")
    return finish(document, args)


def _rows(results: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [
        ("successful requests", f"{results['num_successful_requests']:,}"),
        ("failed requests", f"{results['num_failed_requests']:,}"),
        ("total input tokens", f"{results['num_input_tokens']:,}"),
        ("total generated tokens", f"{results['num_output_tokens']:,}"),
    ]
    figures = (
        ("duration of a run (s)", "duration_seconds"),
        ("request throughput (req/s)", "requests_per_second"),
        ("request goodput (req/s)", "good_requests_per_second"),
        ("output token throughput (tok/s)", "output_tokens_per_second"),
        ("total token throughput (tok/s)", "total_tokens_per_second"),
        ("client's own CPU (cores)", "client_cpu_share"),
        ("sent late by at most (s)", "largest_send_delay_seconds"),
    )
    for title, name in figures:
        if name in results:
            found = results[name]
            rows.append((title, f"{found['median']:,.2f} ({found['min']:,.2f} to {found['max']:,.2f})"))
    return rows


def _latency_table(
    latencies: dict[str, dict[str, float]], metrics: list[str]
) -> tuple[tuple[str, ...], list[list[str]]]:
    """In milliseconds; a metric that no request has is absent."""
    from gradus.bench.serve.options import METRICS

    shown = {name: latencies[METRICS[name]] for name in metrics if METRICS[name] in latencies}
    columns = list(next(iter(shown.values()), {}))
    rows = [
        [_TITLES[name], *(f"{1000 * values[column]:,.2f}" for column in columns)]
        for name, values in shown.items()
    ]
    return ("ms", *columns), rows
