"""What streaming over gRPC costs and keeps: messages per token, the first token's delay, a hundred streams.

Usage: python benchmarks/grpc_streaming.py [MODEL] [--output FILE]

Starts `gradus serve MODEL` (the embedded model by default) as a process of its own and is its client. Prints
a table; the last line of standard output is the evidence.
"""

import argparse
import asyncio
import json
import random
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import grpc

from gradus.bench.evidence import evidence
from gradus.bench.statistics import spread
from gradus.server.grpc.proto import (
    SERVICE,
    ControlMessage,
    Message,
    StreamPredictRequest,
    StreamPredictResponse,
)
from gradus.server.streaming import StreamingSettings, join_deltas
from gradus.text.output_processor import ChoiceDelta

METHOD = (
    "A server process and a client process on one machine, over TCP. Messages per token: streams of equal "
    "length at once, all messages divided by all generated tokens, at the defaults. First message: one "
    "request at a time, the client's time from sending to the first message, with the buffer at its defaults "
    "and switched off in turn (Control's set_streaming), the order within a pair drawn; what the buffer adds "
    "is the difference of the two distributions' quantiles, since a pair's difference is mostly that of two "
    "requests. Time in the buffer: on an event loop in process, with as many streams at once as before, "
    "from when a stream's first text comes to the buffer to when it leaves it. A hundred streams: drawn "
    "prompts, lengths, temperatures and seeds, all at once, against HTTP answers that were not streamed."
)
NUM_STREAMS, STREAM_TOKENS = 8, 256
NUM_RUNS = 10
NUM_PAIRS = 300
NUM_BUFFERED = 400  # streams, of which NUM_STREAMS run at a time
TOKEN_SECONDS = 0.001  # between two tokens of these
NUM_CONCURRENT = 100
QUANTILES = {"p50": 50, "p90": 90, "p99": 99, "max": 100}
SENTENCE = "one two three What is 17 plus 25? The day after Monday. Write a list: red green blue"


@dataclass
class Answer:
    """One stream, as the client saw it."""

    first_seconds: float = 0.0
    messages: list[Message] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(message.chunk for message in self.messages)

    @property
    def num_tokens(self) -> int:
        tokens: int = self.messages[-1].usage.completion_tokens
        return tokens

    @property
    def is_in_order(self) -> bool:
        ends = [message.end_of_stream for message in self.messages]
        indexes = [message.index for message in self.messages]
        return indexes == list(range(len(ends))) and ends == [False] * (len(ends) - 1) + [True]


class Client:
    """Of a server's gRPC address and HTTP base URL."""

    def __init__(self, channel: grpc.aio.Channel, url: str) -> None:
        self._url = url
        self._predict = channel.stream_stream(
            f"/{SERVICE}/StreamPredict",
            StreamPredictRequest.SerializeToString,
            StreamPredictResponse.FromString,
        )
        self._control = channel.unary_unary(
            f"/{SERVICE}/Control", ControlMessage.SerializeToString, ControlMessage.FromString
        )

    async def predict(self, prompt: str, **generation: Any) -> Answer:
        answer = Answer()
        sent = time.perf_counter()
        async for message in self._predict(
            iter([StreamPredictRequest(prompt=prompt, generation=generation)])
        ):
            answer.first_seconds = answer.first_seconds or time.perf_counter() - sent
            answer.messages.append(message)
        return answer

    async def set_streaming(self, **payload: str) -> None:
        await self._control(ControlMessage(command="set_streaming", payload=payload))

    def complete(self, body: dict[str, Any]) -> str:
        request = urllib.request.Request(
            f"{self._url}/completions", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=120) as response:
            text: str = json.load(response)["choices"][0]["text"]
            return text


async def messages_per_token(client: Client) -> list[dict[str, float]]:
    runs = []
    for run in range(NUM_RUNS + 1):
        answers = await asyncio.gather(
            *(
                client.predict(f"{run} {i}", max_new_tokens=STREAM_TOKENS, ignore_eos=True)
                for i in range(NUM_STREAMS)
            )
        )
        num_tokens = sum(answer.num_tokens for answer in answers)
        num_messages = sum(len(answer.messages) for answer in answers)
        runs.append(
            {
                "num_messages": num_messages,
                "num_tokens": num_tokens,
                "messages_per_token": num_messages / num_tokens,
                "tokens_per_sec_of_a_stream": median(a.messages[-1].tokens_per_sec for a in answers),
            }
        )
    return runs[1:]


async def first_messages(client: Client) -> list[dict[str, float]]:
    settings = {"buffered": "50", "unbuffered": "0"}
    pairs = []
    for number in range(NUM_PAIRS):
        pair = {}
        for name in random.Random(number).sample(sorted(settings), 2):
            await client.set_streaming(grpc_flush_interval_ms=settings[name])
            answer = await client.predict(f"What is {number} + 25?", max_new_tokens=24, ignore_eos=True)
            pair[name] = answer.first_seconds
        pairs.append(pair)
    await client.set_streaming(grpc_flush_interval_ms=settings["buffered"])
    return pairs[NUM_PAIRS // 10 :]


async def times_in_buffer() -> list[float]:
    """Seconds that the first texts of streams which take turns on one event loop spend in the buffer."""
    granularity = StreamingSettings().for_grpc()

    async def stream(start_seconds: float) -> float:
        came = 0.0

        async def deltas() -> AsyncGenerator[list[ChoiceDelta]]:
            nonlocal came
            await asyncio.sleep(start_seconds)
            came = time.perf_counter()
            for number in range(STREAM_TOKENS):
                yield [ChoiceDelta(index=0, text="a", token_ids=[number])]
                await asyncio.sleep(TOKEN_SECONDS)

        left = 0.0
        async with aclosing(join_deltas(deltas(), granularity)) as batches:
            async for _ in batches:
                left = left or time.perf_counter()
        return left - came

    starts = [number * TOKEN_SECONDS * STREAM_TOKENS / NUM_STREAMS for number in range(NUM_BUFFERED)]
    return await asyncio.gather(*map(stream, starts))


def quantiles_ms(seconds: Sequence[float]) -> dict[str, float]:
    ascending = sorted(seconds)
    return {
        name: ascending[min(len(ascending) * percent // 100, len(ascending) - 1)] * 1e3
        for name, percent in QUANTILES.items()
    }


async def hundred_streams(client: Client) -> dict[str, int]:
    rng = random.Random(11)
    bodies = [
        {
            "prompt": " ".join(rng.choices(SENTENCE.split(), k=rng.randint(2, 30))),
            "max_tokens": rng.randint(1, 200),
            "temperature": rng.choice([0, 0.8, 1.2]),
            "seed": rng.randrange(2**40),
            "ignore_eos": True,
        }
        for _ in range(NUM_CONCURRENT)
    ]
    whole = [await asyncio.to_thread(client.complete, body) for body in bodies]

    async def stream(body: dict[str, Any]) -> Answer | None:
        fields = dict(body)
        prompt, limit = fields.pop("prompt"), fields.pop("max_tokens")
        try:
            return await client.predict(prompt, max_new_tokens=limit, **fields)
        except grpc.RpcError:
            return None

    answers = await asyncio.gather(*(stream(body) for body in bodies))
    answered = [answer for answer in answers if answer is not None]
    return {
        "num_streams": len(answers),
        "num_failed": len(answers) - len(answered),
        "num_out_of_order": sum(not answer.is_in_order for answer in answered),
        "num_texts_that_differ": sum(
            answer is not None and answer.text != text for answer, text in zip(answers, whole, strict=True)
        ),
        "num_tokens": sum(answer.num_tokens for answer in answered),
    }


async def measure(url: str, address: str, model: str) -> dict[str, Any]:
    async with grpc.aio.insecure_channel(address) as channel:
        client = Client(channel, url)
        runs = await messages_per_token(client)
        pairs = await first_messages(client)
        many = await hundred_streams(client)
    in_buffer = quantiles_ms(await times_in_buffer())
    first = {name: quantiles_ms([pair[name] for pair in pairs]) for name in pairs[0]}
    added = {name: first["buffered"][name] - first["unbuffered"][name] for name in QUANTILES}
    document = evidence(
        "grpc_streaming",
        software={"grpcio": grpc.__version__},
        model={"name": model},
        parameters={
            "stream_chunk_size": 4,
            "grpc_buffer_size": 8,
            "grpc_flush_interval_ms": 50,
            "streams": NUM_STREAMS,
            "tokens_of_a_stream": STREAM_TOKENS,
            "pairs": len(pairs),
        },
        method=METHOD,
        results={
            "messages_per_token": spread([run["messages_per_token"] for run in runs]),
            "tokens_per_sec_of_a_stream": spread([run["tokens_per_sec_of_a_stream"] for run in runs]),
            "first_message_ms": first,
            "first_message_ms_added": added,
            "first_text_in_buffer_ms": in_buffer,
            "hundred_streams": many,
        },
        runs=[*runs, *({f"{name}_seconds": value for name, value in pair.items()} for pair in pairs)],
        verification={
            "at_most_a_quarter_of_a_message_per_token": all(r["messages_per_token"] <= 0.25 for r in runs),
            "first_text_in_buffer_under_5_ms_at_p99": in_buffer["p99"] < 5,
            "first_message_added_under_5_ms_at_p50_and_p90": max(added["p50"], added["p90"]) < 5,
            "no_failure_no_reordering_equal_texts": not any(
                many[name] for name in ("num_failed", "num_out_of_order", "num_texts_that_differ")
            ),
        },
    )
    return document | {"how_obtained": f"measured by: python {' '.join(sys.argv)}"}


def start_server(model: str) -> tuple[subprocess.Popen[str], str, str]:
    command = [sys.executable, "-m", "gradus", "serve", model, "--port", "0", "--grpc-port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    url = ""
    for line in process.stdout:
        if found := re.search(r"http://\S+/v1", line):
            url = url or found.group()
        if found := re.match(r"gRPC is served at (\S+)", line):
            return process, url, found.group(1)
    raise SystemExit("the server did not start")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="demo")
    parser.add_argument("--output", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    process, url, address = start_server(arguments.model)
    try:
        document = asyncio.run(measure(url, address, arguments.model))
    finally:
        process.terminate()
        process.wait(30)
    for name, value in document["results"].items():
        print(f"{name:28} {value}")
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document))


if __name__ == "__main__":
    main()
