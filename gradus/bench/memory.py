"""`gradus bench memory`: what weights, keys and values, activations and the rest take, by number of streams
and length; the engine's own books beside what the operating system saw of a fresh process."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gradus.bench.evidence import engine_parameters, evidence
from gradus.bench.rounds import Figures, Report, Rounds, Side, take_turns
from gradus.bench.workers import WorkerProcess
from gradus.bench.workloads.fixed import FixedWorkload
from gradus.config import EngineConfig
from gradus.errors import ConfigError

METHOD = (
    "A fresh process for every run; the settings take turns. It imports the engine, loads the model, whose "
    "packed weights an earlier process has cached, and runs all streams at once, prefix caching off: greedy, "
    "past the end of the sequence, prompts of random token ids. By the engine's books: packed weights; KV "
    "blocks that were held at once at most, times their bytes; what is reserved for activations. By the "
    "system: resident pages of /proc/PID/smaps when the streams have ended, told apart by the mapping that "
    "they are in, and the high-water mark VmHWM. Reserved memory is not taken before it is written: the "
    "system counts its pages."
)
MIB = 1 << 20
LIBRARIES = 24 * MIB  # what loading adds beyond the books: libraries, tokenizer, heap, stacks
AREAS = 8 * MIB  # of malloc and of half-moved weights, which look like the engine's
SHARE = 0.02  # of a sum: pages, and counters that the kernel batches
KV_SLACK = 4096  # the cache ends with a few bytes that are read and never used


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySettings:
    """Every number of streams with every length, prompt and output together."""

    streams: tuple[int, ...] = (1, 8)
    lengths: tuple[int, ...] = (256, 1024)
    output_len: int = 16
    num_runs: int = 5

    def __post_init__(self) -> None:
        if not self.streams or not self.lengths or min(self.streams) < 1 or self.output_len < 1:
            raise ConfigError(
                f"streams are {self.streams}, lengths {self.lengths}, output_len is {self.output_len}; there "
                "must be some, and all be 1 or more"
            )
        if min(self.lengths) <= self.output_len:
            raise ConfigError(
                f"a length is {min(self.lengths)}, of which {self.output_len} are output; it must be "
                f"{self.output_len + 1} or more"
            )

    def workloads(self) -> list[FixedWorkload]:
        return [
            FixedWorkload(
                name=f"{streams} x {length:,}",
                num_requests=streams,
                concurrency=streams,
                input_len=length - self.output_len,
                output_len=self.output_len,
            )
            for streams in self.streams
            for length in self.lengths
        ]


@dataclass(frozen=True, slots=True)
class Account:
    """One process: the engine's books and the system's, in bytes."""

    workload: FixedWorkload
    loaded: Mapping[str, Any]
    ran: Mapping[str, Any]
    all_tokens: bool

    @property
    def books(self) -> Mapping[str, int]:
        return self.loaded["accounts"]

    @property
    def used_kv(self) -> int:
        """Of the blocks that were held at once at most."""
        return self.ran["peak_used_blocks"] * self.books["block_size"] * self.books["kv_token_bytes"]

    @property
    def needed_kv(self) -> int:
        """What the streams' lengths need; the last token of each has no keys and values."""
        block = self.books["block_size"]
        blocks = self.workload.num_requests * -(-(self.workload.context - 1) // block)
        return blocks * block * self.books["kv_token_bytes"]

    def figures(self) -> dict[str, float]:
        """The parts and the sums; those of the system are called so."""
        books, imported, seen = self.books, self.loaded["memory"]["imported"], self.ran["memory"]
        base = imported["resident_bytes"]
        explained = base + books["weight_bytes"] + self.used_kv + books["activation_bytes"]
        return {
            "weights_bytes": books["weight_bytes"],
            "kv_reserved_bytes": books["kv_reserved_bytes"],
            "kv_used_bytes": self.used_kv,
            "activations_reserved_bytes": books["activation_bytes"],
            "interpreter_bytes": base,
            "system_weights_bytes": seen["weights_bytes"],
            "system_kv_and_activations_bytes": seen["kv_and_activations_bytes"],
            "system_loaded_bytes": self.loaded["memory"]["loaded"]["resident_bytes"],
            "system_resident_bytes": seen["resident_bytes"],
            "system_peak_bytes": seen["peak_bytes"],
            "explained_bytes": explained,
            "unexplained_bytes": seen["peak_bytes"] - explained,
        }

    def checks(self) -> dict[str, bool]:
        """Whether the two sides agree; see docs/bench.md for the tolerances."""
        books, found = self.books, self.figures()
        weights, kv, activations = books["weight_bytes"], self.used_kv, books["activation_bytes"]
        formula = books["num_blocks"] * books["block_size"] * books["kv_token_bytes"]
        seen_weights = found["system_weights_bytes"]
        least = found["interpreter_bytes"] + min(weights, seen_weights) + kv
        return {
            "every_request_gave_all_tokens": self.all_tokens,
            "weights_are_what_their_shapes_say": weights == books["weight_formula_bytes"],
            "reserved_kv_is_blocks_times_tokens_times_bytes": (
                0 <= books["kv_reserved_bytes"] - formula <= KV_SLACK
            ),
            "used_kv_is_what_the_lengths_need": kv == self.needed_kv,
            "no_block_is_held_afterwards": self.ran["num_used_blocks"] == 0,
            "system_saw_no_more_weights_than_there_are": seen_weights <= weights * (1 + SHARE) + AREAS,
            "system_saw_keys_values_and_activations": (
                kv * (1 - SHARE)
                <= found["system_kv_and_activations_bytes"]
                <= (kv + activations) * (1 + SHARE) + AREAS
            ),
            "accounts_add_up_to_the_peak": (
                least * (1 - SHARE)
                <= found["system_peak_bytes"]
                <= found["explained_bytes"] * (1 + SHARE) + LIBRARIES
            ),
        }


def bench_memory(config: EngineConfig, settings: MemorySettings, report: Report) -> dict[str, Any]:
    """Measure every setting `num_runs` times, each in a process of its own. Returns the evidence.

    Raises:
        PeerError: the model cannot be loaded, or a length does not fit into its context.
        ConfigError: the backend or the system keeps no accounts.
    """
    if config.backend != "native":
        raise ConfigError(f"backend is {config.backend}, which keeps no accounts of memory; native does")
    config = replace(config, enable_prefix_caching=False)
    WorkerProcess(config).close()  # what is packed is cached from now on
    accounts: list[Account] = []

    def side(workload: FixedWorkload) -> Side:
        def run(index: int) -> Figures:
            accounts.append(measure(config, workload, index))
            return accounts[-1].figures()

        return Side(workload.name, run)

    sides = [side(workload) for workload in settings.workloads()]
    rounds = take_turns(sides, settings.num_runs, report, warm_up=False)
    return _evidence(config, settings, rounds, accounts)


def measure(config: EngineConfig, workload: FixedWorkload, index: int) -> Account:
    """One fresh process.

    Raises:
        PeerError, ConfigError: as `bench_memory` does.
    """
    worker = WorkerProcess(config)
    try:
        loaded = worker.loaded
        if not loaded["memory"]["loaded"]:
            raise ConfigError("this system does not say what memory a process takes; Linux does")
        requests = workload.requests(loaded["vocab_size"], index)
        ran = worker.run(requests, workload.concurrency)
    finally:
        worker.close()
    counts = [len(token_ids) for token_ids in ran.token_ids]
    asked = [workload.output_len] * workload.num_requests
    is_whole = counts == asked and ran.num_generated_tokens == sum(asked)
    return Account(workload, loaded, ran.details, is_whole)


def _evidence(
    config: EngineConfig, settings: MemorySettings, rounds: Rounds, accounts: Sequence[Account]
) -> dict[str, Any]:
    loaded = accounts[0].loaded
    checks = [account.checks() for account in accounts]
    return evidence(
        "memory",
        software={"backend": config.backend, "kernels": loaded["kernels"]},
        model={"name": config.model, **loaded["accounts"]},
        parameters={
            **engine_parameters(config),
            "streams": list(settings.streams),
            "lengths": list(settings.lengths),
            "output_len": settings.output_len,
            "num_runs": settings.num_runs,
        },
        method=METHOD,
        results={name: rounds.summary(name) for name in rounds.figures},
        runs=rounds.runs(),
        verification={
            **{name: all(found[name] for found in checks) for name in checks[0]},
            "tolerance": {"share": SHARE, "libraries_bytes": LIBRARIES, "areas_bytes": AREAS},
            "repeats": rounds.repeats("system_peak_bytes"),
        },
    )
