"""Many connections at once, for as long as asked: what fails, what comes out of order, which texts differ."""

import asyncio
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import httpx

from gradus.bench.clients.completions import COMPLETIONS, Clock, stopwatch
from gradus.bench.clients.grpc_streams import GrpcClient, MessageStream

WORDS = "one two three What is 17 plus 25? The day after Monday. Write a list: red green blue"
AT_A_TIME = 8  # requests over HTTP
SEED = 11


@dataclass(slots=True)
class Crowd:
    """What became of all streams; times in seconds."""

    num_connections: int
    num_streams: int = 0
    num_messages: int = 0
    num_tokens: int = 0
    num_without_every_index: int = 0
    num_without_one_end: int = 0
    num_texts_that_differ: int = 0
    seconds: float = 0.0
    first_seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def add(self, stream: MessageStream, text: str) -> None:
        """Note a stream whose text should be `text`."""
        self.num_streams += 1
        if stream.error is not None:
            self.failures.append(stream.error)
            return
        self.num_messages += len(stream.messages)
        self.num_tokens += stream.num_tokens
        self.num_without_every_index += not stream.has_every_index
        self.num_without_one_end += not stream.has_one_end
        self.num_texts_that_differ += stream.text != text
        self.first_seconds.append(stream.first_seconds)


@dataclass(frozen=True, slots=True)
class Question:
    """A request that is drawn, and its whole text over HTTP."""

    prompt: str
    max_tokens: int
    generation: dict[str, Any]
    text: str


async def ask_whole(http: httpx.AsyncClient, count: int) -> list[Question]:
    """Drawn prompts, lengths, temperatures and seeds, each answered in one piece.

    Raises:
        httpx.HTTPError: an answer did not come, or refused.
    """
    draw, gate = random.Random(SEED), asyncio.Semaphore(AT_A_TIME)

    async def ask(prompt: str, max_tokens: int, generation: dict[str, Any]) -> Question:
        async with gate:
            body = {"prompt": prompt, "max_tokens": max_tokens, **generation}
            response = (await http.post(COMPLETIONS, json=body)).raise_for_status()
        return Question(prompt, max_tokens, generation, response.json()["choices"][0]["text"])

    return await asyncio.gather(*(ask(*_drawn(draw)) for _ in range(count)))


def _drawn(draw: random.Random) -> tuple[str, int, dict[str, Any]]:
    """Prompt, length and the other parameters."""
    prompt = " ".join(draw.choices(WORDS.split(), k=draw.randint(2, 30)))
    sampling = {"temperature": draw.choice([0, 0.8, 1.2]), "seed": draw.randrange(2**40)}
    return prompt, draw.randint(1, 200), {**sampling, "ignore_eos": True}


async def stream_all(address: str, questions: Sequence[Question], duration: float) -> Crowd:
    """One connection per question, all at once. Each streams its own, then drawn ones until the time is over.

    duration: seconds; 0: every question once.
    """
    crowd, clock = Crowd(len(questions)), stopwatch()

    async def connection(client: GrpcClient, number: int) -> None:
        draw, question = random.Random(number), questions[number]
        while True:
            stream = await client.ask(question.prompt, question.max_tokens, **question.generation)
            crowd.add(stream, question.text)
            if not await _goes_on(clock, duration, stream):
                return
            question = draw.choice(questions)

    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(GrpcClient(address)) for _ in questions]
        await asyncio.gather(*(connection(client, number) for number, client in enumerate(clients)))
    crowd.seconds = clock()
    return crowd


async def _goes_on(clock: Clock, duration: float, stream: MessageStream) -> bool:
    """Whether there is time for another stream; a second passes after a failure, so that none is flooded."""
    if stream.error is not None and clock() < duration:
        await asyncio.sleep(1)
    return clock() < duration
