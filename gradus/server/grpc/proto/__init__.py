"""The service's messages, made from the compiled description beside this file.

`inference.binpb` is `inference.proto` as tools/compile_proto.py compiles it. Generated code would demand the
protobuf version that generated it, or a newer one; a description works with all. It lives in a pool of its
own, so a client in the same process may have generated code of the same messages.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

SERVICE = "cy.llm.AiInference"
HEALTH_SERVICE: str = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
REFLECTION_SERVICE: str = reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"].full_name

PROTO_PATH = Path(__file__).with_name("inference.proto")
_COMPILED = PROTO_PATH.with_suffix(".binpb")

Message = Any  # protobuf makes its classes at run time


def _make_pool() -> Any:
    """Descriptions of all that the server offers, for its own messages and for reflection."""
    pool = descriptor_pool.DescriptorPool()
    for module in (health_pb2, reflection_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    for file in descriptor_pb2.FileDescriptorSet.FromString(_COMPILED.read_bytes()).file:
        pool.Add(file)
    return pool


POOL = _make_pool()


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(f"cy.llm.{name}"))


StreamPredictRequest = _message("StreamPredictRequest")
StreamPredictResponse = _message("StreamPredictResponse")
Usage = _message("Usage")
Error = _message("Error")
ControlMessage = _message("ControlMessage")
WorkerHealthRequest = _message("WorkerHealthRequest")
WorkerHealthResponse = _message("WorkerHealthResponse")


def reader(kind: Any) -> Callable[[bytes], Message | None]:
    """Reads messages of a kind; None stands for bytes that are none.

    An error here would end the call with UNKNOWN, and with it the other requests of a stream.
    """

    def read(data: bytes) -> Message | None:
        try:
            return kind.FromString(data)
        except DecodeError:
            return None

    return read
