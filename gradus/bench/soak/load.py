"""The load: requests of drawn kinds that begin at drawn times, while the server's process is watched."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import grpc
import httpx

from gradus.bench.clients.completions import stopwatch
from gradus.bench.soak.kinds import KINDS, Server
from gradus.errors import ConfigError, GradusError

REQUEST_SECONDS = 120.0
MOST_SECONDS_BETWEEN_SAMPLES = 5.0
NUM_SAMPLES = 120  # at least, of a short run


@dataclass(frozen=True, kw_only=True)
class SoakOptions:
    """How long, and how much at a time.

    Attributes:
        duration: seconds in which requests begin.
        request_rate: how many begin per second on average, in a Poisson process.
        max_concurrency: as soon as so many are in flight, the next one waits.
    """

    duration: float = 60.0
    request_rate: float = 10.0
    max_concurrency: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("duration", "request_rate"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is {getattr(self, name):g}; it must be above 0")
        if self.max_concurrency < 1:
            raise ConfigError(f"max_concurrency is {self.max_concurrency}; it must be 1 or more")

    @property
    def seconds_between_samples(self) -> float:
        return min(MOST_SECONDS_BETWEEN_SAMPLES, self.duration / NUM_SAMPLES)


@dataclass(frozen=True, slots=True)
class Ended:
    """A request that ended as its kind asks: seconds from the beginning to its start, and what it took."""

    kind: str
    start: float
    seconds: float


@dataclass(slots=True)
class Log:
    """What became of the requests, and samples of the process: `seconds` and what `OwnServer.usage` says."""

    num_sent: int = 0
    ended: list[Ended] = field(default_factory=list)
    failures: list[dict[str, str]] = field(default_factory=list)
    samples: list[dict[str, float]] = field(default_factory=list)


async def soak(
    server: Server,
    options: SoakOptions,
    usage: Callable[[], dict[str, float]],
    on_sample: Callable[[Log], None],
) -> Log:
    """Load the server for the duration and wait until all requests have ended."""
    log, clock, draw = Log(), stopwatch(), random.Random(options.seed)
    gate = asyncio.Semaphore(options.max_concurrency)
    kinds, weights = list(KINDS), list(KINDS.values())

    async def send(chance: random.Random) -> None:
        (kind,) = chance.choices(kinds, weights)
        begun = clock()
        try:
            await asyncio.wait_for(kind(server, chance), REQUEST_SECONDS)
            log.ended.append(Ended(kind.__name__, begun, clock() - begun))
        except (GradusError, httpx.HTTPError, grpc.RpcError, TimeoutError, ValueError, LookupError) as error:
            log.failures.append({"kind": kind.__name__, "error": f"{type(error).__name__}: {error}"[:400]})
        finally:
            gate.release()

    def sample() -> None:
        log.samples.append({"seconds": clock(), **usage()})
        on_sample(log)

    async def watch() -> None:
        while True:
            sample()
            await asyncio.sleep(options.seconds_between_samples)

    watcher = asyncio.create_task(watch())
    async with asyncio.TaskGroup() as tasks:
        while clock() < options.duration:
            await gate.acquire()
            log.num_sent += 1
            tasks.create_task(send(random.Random(draw.randrange(2**60))))
            await asyncio.sleep(draw.expovariate(options.request_rate))
    watcher.cancel()
    sample()
    return log
