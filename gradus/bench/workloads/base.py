"""What a workload is: requests with prompts of token ids, and what decides when each is sent."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from random import Random
from typing import Any, Self

from gradus.errors import ConfigError

Encode = Callable[[str], list[int]]
"""A tokenizer: a text's token ids."""


@dataclass(frozen=True, slots=True)
class WorkloadRequest:
    """One request.

    Attributes:
        prompt: token ids.
        output_len: tokens to generate, past the end of the sequence if it comes earlier.
        arrival: seconds from the run's beginning before which it is not sent; 0 in a closed loop.
        after: the index of a request that must have ended before this one is sent, as a conversation's turn.
    """

    prompt: Sequence[int]
    output_len: int
    arrival: float = 0.0
    after: int | None = None

    @property
    def context(self) -> int:
        """Its tokens when it ends."""
        return len(self.prompt) + self.output_len


@dataclass(frozen=True, kw_only=True)
class Workload(ABC):
    """Requests of a kind. A kind's own parameters are fields with numbers.

    Attributes:
        concurrency: how many are in flight at a time at most, a closed loop; None: as many as have arrived.
    """

    name: str
    concurrency: int | None

    def __post_init__(self) -> None:
        if self.concurrency is not None:
            self._check_at_least(1, "concurrency")

    @abstractmethod
    def requests(self, vocab_size: int, round_index: int) -> list[WorkloadRequest]:
        """The requests of one round, in the order of sending; the same ones whenever it is asked for.

        Raises:
            ConfigError: the workload consists of text; see `with_tokenizer`.
        """

    @property
    @abstractmethod
    def max_context(self) -> int:
        """Tokens that no request of any round exceeds."""

    @property
    @abstractmethod
    def lengths(self) -> str:
        """For people: how many requests of which lengths."""

    @property
    def summary(self) -> str:
        """For people: its requests, and when they are sent."""
        when = "all at once" if self.concurrency is None else f"{self.concurrency} at a time"
        return f"{self.lengths}, {when}"

    def with_tokenizer(self, encode: Encode) -> "Workload":
        """The same in token ids, where it consists of text; else itself."""
        return self

    def changed(self, **values: float | None) -> Self:
        """With other numbers, and then another name; None leaves one alone.

        Raises:
            ConfigError: there is no such number in this kind of workload, or the value cannot work.
        """
        given: dict[str, Any] = {name: value for name, value in values.items() if value is not None}
        known = [field.name for field in fields(self) if self._is_number(field.name)]
        for name, value in given.items():
            if name not in known:
                raise ConfigError(f"{self.name} has no {name} to change; it has {', '.join(known)}")
            if isinstance(getattr(self, name), int) and not isinstance(value, int):
                raise ConfigError(f"{name} is {value}; it must be a whole number")
        return replace(self, name=self._changed_name, **given) if given else self

    def as_dict(self) -> dict[str, Any]:
        """For the evidence's parameters."""
        return asdict(self)

    def _is_number(self, name: str) -> bool:
        return name == "concurrency" or isinstance(getattr(self, name), int | float)

    @property
    def _changed_name(self) -> str:
        return f"{self.name.removesuffix('-changed')}-changed"

    def _check_at_least(self, least: float, *names: str) -> None:
        for name in names:
            if not getattr(self, name) >= least:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be {least} or more")

    def _check_share(self, *names: str) -> None:
        for name in names:
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be from 0 to 1")


def random_tokens(draw: Random, count: int, vocab_size: int) -> list[int]:
    """Token ids of a prompt that means nothing."""
    return [draw.randrange(vocab_size) for _ in range(count)]
