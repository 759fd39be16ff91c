"""gRPC clients that misbehave; the counterpart of `hostile_http`."""

import socket

import grpc

from gradus.server.grpc.proto import SERVICE, ControlMessage, StreamPredictRequest, StreamPredictResponse
from tests.server.grpc.harness import texts_of
from tests.server.hostile_http import HOST, PATIENCE, WORDS, Outcome, UnsoundError, sampling

Code = grpc.StatusCode
BUSY = (Code.RESOURCE_EXHAUSTED, Code.DEADLINE_EXCEEDED)
BAD_GENERATIONS = [
    {"temperature": -1},
    {"top_p": 7},
    {"max_new_tokens": 2**31},
    {"stop": [""]},
    {"temperature": float("nan")},
]


class GrpcClient:
    """The calls of one channel, in a thread that may wait."""

    def __init__(self, port):
        self._port = port
        self._channel = grpc.insecure_channel(f"{HOST}:{port}")
        self._predict = self._channel.stream_stream(
            f"/{SERVICE}/StreamPredict",
            StreamPredictRequest.SerializeToString,
            StreamPredictResponse.FromString,
        )
        self._predict_bytes = self._channel.stream_stream(f"/{SERVICE}/StreamPredict")
        self._control = self._channel.unary_unary(
            f"/{SERVICE}/Control", ControlMessage.SerializeToString, ControlMessage.FromString
        )

    def run(self, rng, num_requests):
        """So many calls one after another; their outcomes."""
        actions = [self.ask, self.ask, self.leave, self.leave, self.ask_badly, self.garble, self.command]
        try:
            return [rng.choice(actions)(rng) for _ in range(num_requests)]
        finally:
            self._channel.close()

    def ask(self, rng):
        """A call of some requests; each has one end, be it an error, or the call has one."""
        requests = [_request(rng, trace_id=str(i)) for i in range(rng.randint(1, 5))]
        try:
            messages = list(self._predict(iter(requests), timeout=rng.choice([0.05, PATIENCE])))
        except grpc.RpcError as error:
            return Outcome("gRPC generation", _name_of(error, BUSY), num_unseen=len(requests))
        _check(set(texts_of(messages)) == {request.metadata.trace_id for request in requests}, messages)
        ends = [message for message in messages if message.end_of_stream]
        codes = {message.error.code for message in ends if message.HasField("error")}
        _check(codes <= {"queue_full", "deadline_exceeded"}, codes)
        served = [message.finish_reason in ("stop", "length") for message in ends]
        return Outcome("gRPC generation", " ".join(["OK", *sorted(codes)]), sum(served))

    def leave(self, rng):
        """Cancel after some messages."""
        call = self._predict(iter([_request(rng) for _ in range(3)]), timeout=PATIENCE)
        try:
            for _ in range(rng.randint(0, 6)):
                next(call, None)
        except grpc.RpcError as error:
            _name_of(error, BUSY)
        call.cancel()
        return Outcome("gRPC leave", "left", num_unseen=3)

    def ask_badly(self, rng):
        request = StreamPredictRequest(prompt="Hi", generation=rng.choice(BAD_GENERATIONS))
        try:
            list(self._predict(iter([request]), timeout=PATIENCE))
        except grpc.RpcError as error:
            return Outcome("bad gRPC request", _name_of(error, (Code.INVALID_ARGUMENT,)))
        raise UnsoundError(f"{request} was answered")

    def garble(self, rng):
        """Bytes that are no message, or no HTTP/2 at all."""
        if rng.random() < 0.5:
            with socket.create_connection((HOST, self._port), PATIENCE) as connection:
                connection.sendall(rng.randbytes(200))
            return Outcome("garbled gRPC", "closed")
        try:
            list(self._predict_bytes(iter([b"\xff" * 40]), timeout=PATIENCE))
        except grpc.RpcError as error:
            return Outcome("garbled gRPC", _name_of(error, (Code.INVALID_ARGUMENT,)))
        raise UnsoundError("bytes that are no message were answered")

    def command(self, rng):
        name = rng.choice(["ping", "stats", "list_models", "abort", "no such command"])
        try:
            self._control(ControlMessage(command=name), timeout=PATIENCE)
        except grpc.RpcError as error:
            return Outcome("control", _name_of(error, (Code.INVALID_ARGUMENT, Code.UNIMPLEMENTED)))
        return Outcome("control", "OK")


def _request(rng, trace_id=""):
    fields = sampling(rng)
    limit = fields.pop("max_tokens")
    return StreamPredictRequest(
        prompt=" ".join(rng.choices(WORDS, k=rng.randint(1, 12))),
        generation={"max_new_tokens": limit, **fields},
        metadata={"trace_id": trace_id},
    )


def _name_of(error, allowed):
    if error.code() not in allowed:
        raise UnsoundError(f"{error.code()}: {error.details()}")
    return error.code().name


def _check(is_sound, what):
    if not is_sound:
        raise UnsoundError(str(what)[:600])
