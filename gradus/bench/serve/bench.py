"""Drives a server at a URL and reports what `vllm bench serve` reports, as evidence.

Knows nothing of who serves: counts come from the answers' usage, times from this process's clock. Where the
server counts for itself, as Gradus does, both counts must agree.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx

from gradus.bench.clients.answered import Answered
from gradus.bench.clients.completions import Clock, CompletionsClient, open_http, stopwatch
from gradus.bench.clients.drive import drive
from gradus.bench.clients.server_counters import settled_counters
from gradus.bench.evidence import evidence
from gradus.bench.serve.options import ServeOptions
from gradus.bench.serve.run import ServedRun, distribution, samples
from gradus.bench.statistics import repeats, spread
from gradus.bench.workloads.base import WorkloadRequest
from gradus.errors import ConfigError
from gradus.text.tokenizer import Tokenizer

METHOD = (
    "A client process of the server's HTTP API, a connection per request, every answer streamed. "
    "Tokens are counted by the usage at each stream's end. TTFT ends with the first chunk that brings "
    "tokens: by the counts in chunks where the server gives them, else by having text. ITL is from one such "
    "chunk to the next, which may have several tokens. TPOT = (E2E - TTFT) / (output tokens "
    "- 1). Requests that failed count in the duration and in nothing else. Latencies are of all runs' "
    "requests, throughputs the spread over the runs."
)
HEADLINES = ("output_tokens_per_second", "ttft_seconds", "tpot_seconds")


def bench_serve(
    url: str,
    tokenizer: Tokenizer,
    options: ServeOptions,
    on_run: Callable[[ServedRun], None],
    *,
    model: str | None = None,
    server: Mapping[str, Any] | None = None,
    api_key: str | None = None,
) -> dict[str, Any]:
    """Measure the server at `url`; returns the evidence.

    model: what the server calls it; None: the first that it lists.
    server: what is known of how the server was started, for the evidence.

    Raises:
        ConfigError: nobody answers at `url`, or no model is named and the server lists none.
    """
    return asyncio.run(_measure(url, tokenizer, options, on_run, model, server, api_key))


async def _measure(
    url: str,
    tokenizer: Tokenizer,
    options: ServeOptions,
    on_run: Callable[[ServedRun], None],
    model: str | None,
    server: Mapping[str, Any] | None,
    api_key: str | None,
) -> dict[str, Any]:
    async with open_http(url, api_key) as http:
        model = model or await _first_model(http, url)
        ignored = {"ignore_eos": True} if options.ignore_eos else {}
        client = CompletionsClient(http, options.endpoint, {"model": model, **options.sampling, **ignored})

        async def send(request: WorkloadRequest, clock: Clock) -> Answered:
            prompt = list(request.prompt)
            content = (
                prompt if options.sends_token_ids else tokenizer.decode(prompt, skip_special_tokens=False)
            )
            return await client.ask(content, request.output_len, clock)

        warm_up = options.requests(tokenizer.vocab_size, 0)[: options.num_warmups]
        await drive(warm_up, options.workload.concurrency, send, stopwatch())
        runs = []
        for index in range(1, options.num_runs + 1):
            requests = options.requests(tokenizer.vocab_size, index)
            before = await settled_counters(http)
            cpu, clock = time.process_time(), stopwatch()
            answers = await drive(requests, options.workload.concurrency, send, clock)
            cpu = time.process_time() - cpu
            runs.append(ServedRun(requests, answers, cpu, before, await settled_counters(http)))
            on_run(runs[-1])
    return _evidence(url, model, options, runs, server)


async def _first_model(http: httpx.AsyncClient, url: str) -> str:
    try:
        response = await http.get("/v1/models")
        return str(response.json()["data"][0]["id"])
    except httpx.HTTPError as error:
        raise ConfigError(f"nobody answers at {url}: {error or type(error).__name__}") from error
    except (ValueError, LookupError, TypeError) as error:
        raise ConfigError(f"{url}/v1/models names no model; say with --model what it is called") from error


def _evidence(
    url: str, model: str, options: ServeOptions, runs: Sequence[ServedRun], server: Mapping[str, Any] | None
) -> dict[str, Any]:
    figures = [found for run in runs if (found := run.figures(options.goodput))]
    names = dict.fromkeys(name for found in figures for name in found)
    values = {name: [found[name] for found in figures if name in found] for name in names}
    return evidence(
        "serve",
        software={"httpx": httpx.__version__},
        model={"name": model},
        parameters={**options.as_dict(), "url": url, "server": server},
        method=METHOD,
        results={
            "num_successful_requests": sum(len(run.timings) for run in runs),
            "num_failed_requests": sum(len(run.failures) for run in runs),
            **{name: spread(found) for name, found in values.items() if not name.startswith("num_")},
            "num_input_tokens": sum(t.num_prompt_tokens for run in runs for t in run.timings),
            "num_output_tokens": sum(t.num_output_tokens for run in runs for t in run.timings),
            "latencies": {
                name: distribution(found, options.percentiles) for name, found in samples(runs).items()
            },
        },
        runs=[run.as_dict(options.goodput) for run in runs],
        verification={
            **_checks(runs, options),
            "repeats": repeats({name: values[name] for name in HEADLINES if name in values}),
        },
    )


def _checks(runs: Sequence[ServedRun], options: ServeOptions) -> dict[str, bool | None]:
    """What must hold of the counts; None, and so absent, where it cannot be known."""
    pairs = [
        (request, answer)
        for run in runs
        for request, answer in zip(run.requests, run.answers, strict=True)
        if answer.num_output_tokens is not None and answer.error is None
    ]
    lengths = [(answer.num_output_tokens or 0, request.output_len) for request, answer in pairs]
    agreements = [agrees for run in runs if (agrees := run.agrees_with_the_server()) is not None]
    return {
        "every_request_was_answered": not any(run.failures for run in runs),
        "every_request_gave_all_tokens": all(count == asked for count, asked in lengths)
        if options.ignore_eos
        else None,
        "no_request_gave_more_tokens_than_asked": all(count <= asked for count, asked in lengths),
        "no_answer_had_more_chunks_than_tokens": all(
            len(answer.arrivals) <= max(1, answer.num_output_tokens or 0) for _, answer in pairs
        ),
        "every_prompt_was_counted_as_sent": all(
            answer.num_prompt_tokens == len(request.prompt) for request, answer in pairs
        )
        if options.sends_token_ids
        else None,
        "the_servers_own_counters_agree": all(agreements) if agreements else None,
    }
