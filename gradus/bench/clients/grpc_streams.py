"""A client of `StreamPredict` and `Control`: one request's messages as they came, and what holds of them."""

import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import grpc

from gradus.server.grpc.proto import (
    SERVICE,
    ControlMessage,
    Message,
    StreamPredictRequest,
    StreamPredictResponse,
)

TIMEOUT = 600.0  # seconds for a call
_OWN_CONNECTION = ("grpc.use_local_subchannel_pool", 1)  # else channels to one address share theirs


@dataclass(slots=True)
class MessageStream:
    """One request's answer. `first_seconds` is from sending it to its first message."""

    first_seconds: float = 0.0
    messages: list[Message] = field(default_factory=list)
    error: str | None = None

    @property
    def text(self) -> str:
        return "".join(message.chunk for message in self.messages)

    @property
    def num_tokens(self) -> int:
        """By the server's usage, which its last message has."""
        return int(self.messages[-1].usage.completion_tokens) if self.messages else 0

    @property
    def has_every_index(self) -> bool:
        """Whether indexes count from 0 without a gap, in order."""
        return [message.index for message in self.messages] == list(range(len(self.messages)))

    @property
    def has_one_end(self) -> bool:
        """Whether exactly one message, the last, has `end_of_stream`."""
        ends = [message.end_of_stream for message in self.messages]
        return sum(ends) == 1 and ends[-1]


class GrpcClient:
    """One connection to a server's gRPC address."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.aio.insecure_channel(address, options=[_OWN_CONNECTION])
        self.predict = self._channel.stream_stream(
            f"/{SERVICE}/StreamPredict",
            StreamPredictRequest.SerializeToString,
            StreamPredictResponse.FromString,
        )
        self._control = self._channel.unary_unary(
            f"/{SERVICE}/Control", ControlMessage.SerializeToString, ControlMessage.FromString
        )

    async def __aenter__(self) -> "GrpcClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._channel.close()

    async def ask(self, prompt: str, max_tokens: int, **generation: Any) -> MessageStream:
        """One request in a call of its own, read to its end; a failure is noted, not raised."""
        request = StreamPredictRequest(prompt=prompt, generation={"max_new_tokens": max_tokens, **generation})
        stream, sent = MessageStream(), time.perf_counter()
        try:
            async for message in self.predict(iter([request]), timeout=TIMEOUT):
                stream.first_seconds = stream.first_seconds or time.perf_counter() - sent
                stream.messages.append(message)
        except grpc.aio.AioRpcError as error:
            stream.error = f"{error.code().name}: {error.details()}"
        return stream

    async def streaming(self, **changes: str) -> dict[str, str]:
        """How many tokens travel together, changed first where anything is given; see docs/grpc.md."""
        command = "set_streaming" if changes else "get_streaming"
        answer = await self._control(ControlMessage(command=command, payload=changes), timeout=TIMEOUT)
        return dict(answer.payload)
