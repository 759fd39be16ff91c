"""Clients of all kinds for minutes: what fails, what it takes, and whether the server's memory or files grow.

Usage: python benchmarks/mixed_load.py [MODEL] [--minutes M] [--rate R] [--seed S] [--output FILE]

Starts `gradus serve MODEL` (the embedded model by default) with HTTP and gRPC as a process of its own and is
its clients. Prints a line per sample of the process; the last line of standard output is the evidence.
"""

import argparse
import asyncio
import json
import os
import random
import re
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import linear_regression, quantiles
from typing import Any

import grpc
import httpx

from gradus.bench.evidence import evidence
from gradus.server.grpc.proto import SERVICE, StreamPredictRequest, StreamPredictResponse

METHOD = (
    "A server process and a client process on one machine, over TCP. Requests begin at drawn times, whether "
    "or not earlier ones have ended; kinds, prompts, lengths and seeds are drawn. A request that was "
    "answered in any other way than its kind asks for has failed. Resident memory and open files are read "
    "from /proc; slopes are least squares over the samples of the second half: caches are full by then."
)
SAMPLE_SECONDS = 5.0
OPTIONS = ["--kv-cache-memory-bytes", "32M", "--log-level", "warning"]  # a pool that is soon touched all over
TEXT = "one two three What is 17 plus 25? The day after Monday. Write a list: red green blue 你好 🙂"
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "add", "parameters": SCHEMA}}


class Failure(Exception):  # noqa: N818
    """An answer that the request did not ask for."""


@dataclass
class Server:
    """The process and what its clients need."""

    process: subprocess.Popen[str]
    http: httpx.AsyncClient
    predict: Any

    def sample(self, began: float) -> dict[str, float]:
        """Seconds since `began`, resident memory in MiB, open files, threads."""
        folder = Path(f"/proc/{self.process.pid}")
        status = (folder / "status").read_text()

        def number(name: str) -> int:
            found = re.search(rf"{name}:\s+(\d+)", status)
            assert found is not None
            return int(found.group(1))

        return {
            "seconds": round(time.monotonic() - began, 1),
            "rss_mib": round(number("VmRSS") / 1024, 2),
            "open_files": len(os.listdir(folder / "fd")),
            "threads": number("Threads"),
        }


@dataclass
class Log:
    """What became of the requests, by kind."""

    seconds: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    failures: list[dict[str, str]] = field(default_factory=list)
    num_sent: int = 0


def prompt(rng: random.Random) -> str:
    return " ".join(rng.choices(TEXT.split(), k=rng.randint(1, 60)))


def sampling(rng: random.Random) -> dict[str, Any]:
    return {
        "max_tokens": rng.randint(1, 96),
        "temperature": rng.choice([0, 0.7, 1.2]),
        "seed": rng.randrange(2**40),
        "ignore_eos": rng.random() < 0.3,
    }


def completion(rng: random.Random) -> dict[str, Any]:
    return {"prompt": prompt(rng), **sampling(rng)}


def chat(rng: random.Random) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": prompt(rng)}], **sampling(rng)}


def expect(is_right: bool, what: str) -> None:
    if not is_right:
        raise Failure(what[:300])


# -- the kinds


async def post(server: Server, path: str, body: dict[str, Any], status: int = 200) -> dict[str, Any]:
    response = await server.http.post(path, json=body)
    expect(response.status_code == status, f"{response.status_code} {response.text}")
    answer: dict[str, Any] = response.json()
    return answer


async def read_events(server: Server, path: str, body: dict[str, Any], at_most: int | None = None) -> None:
    """A stream to its end, or to its event number `at_most`, where the client leaves."""
    last = ""
    async with server.http.stream("POST", path, json={**body, "stream": True}) as response:
        expect(response.status_code == 200, str(response.status_code))
        num_events = 0
        async for line in response.aiter_lines():
            if line:
                last, num_events = line, num_events + 1
            if at_most is not None and num_events >= at_most:
                return
    expect(last == "data: [DONE]", last)


async def whole_chat(server: Server, rng: random.Random) -> None:
    answer = await post(server, "/v1/chat/completions", {**chat(rng), "timings": rng.random() < 0.5})
    expect(answer["choices"][0]["finish_reason"] in ("stop", "length"), str(answer))


async def streamed_chat(server: Server, rng: random.Random) -> None:
    await read_events(server, "/v1/chat/completions", chat(rng))


async def whole_completion(server: Server, rng: random.Random) -> None:
    n = rng.randint(1, 4)
    answer = await post(server, "/v1/completions", {**completion(rng), "n": n})
    expect(len(answer["choices"]) == n, str(answer))


async def streamed_completion(server: Server, rng: random.Random) -> None:
    await read_events(server, "/v1/completions", {**completion(rng), "stream_chunk_size": rng.randint(1, 8)})


async def structured(server: Server, rng: random.Random) -> None:
    schema = {**SCHEMA, "title": prompt(rng)} if rng.random() < 0.5 else SCHEMA  # some are new each time
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}
    answer = await post(
        server, "/v1/chat/completions", {**chat(rng), "max_tokens": 96, "response_format": form}
    )
    choice = answer["choices"][0]
    if choice["finish_reason"] == "stop":
        expect(set(json.loads(choice["message"]["content"])) == {"name", "age"}, str(choice))


async def tool_call(server: Server, rng: random.Random) -> None:
    body = {**chat(rng), "max_tokens": 128, "tools": [TOOL], "tool_choice": "required"}
    answer = await post(server, "/v1/chat/completions", body)
    choice = answer["choices"][0]
    expect(choice["finish_reason"] in ("tool_calls", "length"), str(choice))


async def left_early(server: Server, rng: random.Random) -> None:
    body = {**completion(rng), "max_tokens": 400}
    await read_events(server, "/v1/completions", body, at_most=rng.randint(1, 40))


async def refused(server: Server, rng: random.Random) -> None:
    body = {
        **completion(rng),
        **rng.choice([{"temperature": -1}, {"prompt": None}, {"unknown": 1}, {"n": 0}]),
    }
    answer = await post(server, "/v1/completions", body, status=400)
    expect("message" in answer["error"], str(answer))


async def asked(server: Server, rng: random.Random) -> None:
    path = rng.choice(["/health", "/metrics", "/v1/models", "/v1/capabilities", "/openapi.json"])
    response = await server.http.get(path)
    expect(response.status_code == 200, f"{path} {response.status_code}")


async def tokenized(server: Server, rng: random.Random) -> None:
    text = prompt(rng)
    tokens = (await post(server, "/tokenize", {"prompt": text, "add_special_tokens": False}))["tokens"]
    expect((await post(server, "/detokenize", {"tokens": tokens}))["prompt"] == text, text)


async def grpc_streams(server: Server, rng: random.Random) -> None:
    """A call of some requests; one in four is cancelled."""
    bodies = [completion(rng) for _ in range(rng.randint(1, 4))]
    requests = []
    for i, body in enumerate(bodies):
        text, limit = body.pop("prompt"), body.pop("max_tokens")
        generation = {"max_new_tokens": limit, **body}
        requests.append(
            StreamPredictRequest(prompt=text, generation=generation, metadata={"trace_id": str(i)})
        )
    call = server.predict(iter(requests))
    if rng.random() < 0.25:
        await call.read()
        call.cancel()
        return
    ends = [message.trace_id async for message in call if message.end_of_stream]
    expect(sorted(ends) == [str(i) for i in range(len(bodies))], str(ends))


KINDS: dict[Callable[[Server, random.Random], Awaitable[None]], int] = {
    whole_chat: 3,
    streamed_chat: 4,
    whole_completion: 2,
    streamed_completion: 2,
    structured: 2,
    tool_call: 1,
    left_early: 2,
    refused: 1,
    asked: 2,
    tokenized: 1,
    grpc_streams: 3,
}


# -- the run


async def send(server: Server, log: Log, rng: random.Random) -> None:
    (kind,) = rng.choices(list(KINDS), list(KINDS.values()))
    began = time.monotonic()
    try:
        await asyncio.wait_for(kind(server, rng), 120)
        log.seconds[kind.__name__].append(time.monotonic() - began)
    except (Failure, httpx.HTTPError, grpc.RpcError, TimeoutError) as error:
        log.failures.append({"kind": kind.__name__, "error": f"{type(error).__name__}: {error}"[:400]})


async def drive(server: Server, seconds: float, rate: float, seed: int) -> tuple[Log, list[dict[str, float]]]:
    rng, log, began = random.Random(seed), Log(), time.monotonic()
    samples: list[dict[str, float]] = []

    async def watch() -> None:
        while True:
            samples.append(server.sample(began))
            print(
                f"{samples[-1]} sent {log.num_sent} failed {len(log.failures)}", file=sys.stderr, flush=True
            )
            await asyncio.sleep(SAMPLE_SECONDS)

    watcher = asyncio.create_task(watch())
    async with asyncio.TaskGroup() as tasks:
        while time.monotonic() - began < seconds:
            log.num_sent += 1
            tasks.create_task(send(server, log, random.Random(rng.randrange(2**60))))
            await asyncio.sleep(rng.expovariate(rate))
    watcher.cancel()
    return log, samples


async def gauges(server: Server) -> dict[str, float]:
    """What is left in the engine a moment after the last client."""
    await asyncio.sleep(1)
    text = (await server.http.get("/metrics")).text
    names = ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc")
    return {name: float(re.findall(rf"^gradus:{name} (\S+)", text, re.M)[0]) for name in names}


def slopes(samples: list[dict[str, float]]) -> dict[str, float]:
    """Growth per hour, once caches are full."""
    late = samples[len(samples) // 2 :]
    hours = [sample["seconds"] / 3600 for sample in late]
    return {
        f"{name}_per_hour": round(linear_regression(hours, [sample[name] for sample in late]).slope, 3)
        for name in ("rss_mib", "open_files", "threads")
    }


def latencies(log: Log) -> dict[str, dict[str, float]]:
    """Milliseconds by kind."""
    found = {}
    for kind, seconds in sorted(log.seconds.items()):
        cuts = quantiles([each * 1e3 for each in seconds], n=100, method="inclusive") if seconds[1:] else []
        found[kind] = {"count": len(seconds)}
        found[kind] |= {f"p{share}_ms": round(cuts[share - 1], 1) for share in (50, 90, 99) if cuts}
    return found


def start_server(model: str) -> tuple[subprocess.Popen[str], str, str]:
    """The process, HTTP's base URL and gRPC's address."""
    command = [sys.executable, "-m", "gradus", "serve", model, "--port", "0", "--grpc-port", "0"]
    process = subprocess.Popen([*command, *OPTIONS], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    url = ""
    for line in process.stdout:
        if found := re.search(r"(http://\S+)/v1", line):
            url = url or found.group(1)
        if found := re.match(r"gRPC is served at (\S+)", line):
            return process, url, found.group(1)
    raise SystemExit("the server did not start")


async def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    process, url, address = start_server(arguments.model)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
    try:
        async with (
            httpx.AsyncClient(base_url=url, timeout=120, limits=limits) as http,
            grpc.aio.insecure_channel(address) as channel,
        ):
            predict = channel.stream_stream(
                f"/{SERVICE}/StreamPredict",
                StreamPredictRequest.SerializeToString,
                StreamPredictResponse.FromString,
            )
            server = Server(process, http, predict)
            log, samples = await drive(server, arguments.minutes * 60, arguments.rate, arguments.seed)
            left = await gauges(server)
    finally:
        process.terminate()
        status = await asyncio.to_thread(process.wait, 30)
    num_ended = sum(len(seconds) for seconds in log.seconds.values()) + len(log.failures)
    document = evidence(
        "mixed_load",
        software={"grpcio": grpc.__version__, "httpx": httpx.__version__},
        model={"name": arguments.model},
        parameters={name: getattr(arguments, name) for name in ("minutes", "rate", "seed")},
        method=METHOD,
        results={
            "num_sent": log.num_sent,
            "num_failed": len(log.failures),
            "failures": log.failures[:20],
            "latency": latencies(log),
            "slopes": slopes(samples),
            "first_sample": samples[0],
            "last_sample": samples[-1],
            "left_in_the_engine": left,
            "exit_status": status,
        },
        runs=samples,
        verification={
            "every_request_ended": num_ended == log.num_sent,
            "nothing_failed": not log.failures,
            "the_engine_is_empty": not any(left.values()),
        },
    )
    return document | {"how_obtained": f"measured by: python {' '.join(sys.argv)}"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="demo")
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--rate", type=float, default=10.0, help="requests a second")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    document = asyncio.run(measure(arguments))
    for kind, row in document["results"]["latency"].items():
        print(f"{kind:20} {row}")
    for name in ("num_sent", "num_failed", "failures", "slopes", "left_in_the_engine"):
        print(f"{name:20} {document['results'][name]}")
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document))
    sys.exit(0 if all(document["verification"].values()) else 1)


if __name__ == "__main__":
    main()
