"""Workloads that consist of text: their requests are known once a tokenizer is."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Never

from gradus.bench.workloads.base import Encode, Workload, WorkloadRequest
from gradus.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class TokenizedWorkload(Workload):
    """Prompts of known token ids: the same in every round."""

    prompts: tuple[tuple[int, ...], ...]
    output_lens: tuple[int, ...]

    @property
    def max_context(self) -> int:
        return max(request.context for request in self.requests(0, 0))

    @property
    def lengths(self) -> str:
        num_in, num_out = sum(map(len, self.prompts)), sum(self.output_lens)
        return f"{len(self.prompts)} requests of {num_in:,} tokens in, {num_out:,} out altogether"

    def requests(self, vocab_size: int, round_index: int) -> list[WorkloadRequest]:
        return [
            WorkloadRequest(prompt, output_len)
            for prompt, output_len in zip(self.prompts, self.output_lens, strict=True)
        ]

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "concurrency": self.concurrency,
            "input_lens": [len(prompt) for prompt in self.prompts],
            "output_lens": list(self.output_lens),
        }


@dataclass(frozen=True, kw_only=True)
class TextWorkload(Workload):
    """Has no requests itself; `with_tokenizer` gives the workload that has."""

    @abstractmethod
    def with_tokenizer(self, encode: Encode) -> TokenizedWorkload: ...

    @property
    def max_context(self) -> int:
        self._refuse()

    def requests(self, vocab_size: int, round_index: int) -> list[WorkloadRequest]:
        self._refuse()

    def _refuse(self) -> Never:
        raise ConfigError(
            f"{self.name} consists of text, and there is no tokenizer here; choose a workload of token ids, "
            "such as reference"
        )
