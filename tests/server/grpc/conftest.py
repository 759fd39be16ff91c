import importlib
import subprocess
import sys

import grpc
import pytest

from gradus.server.grpc.proto import PROTO_PATH
from tests.server.conftest import ANSWER
from tests.server.grpc.harness import GrpcClient
from tests.server.harness import say, serving


def generate_client(proto, destination):
    """Client code of a .proto file, as a user makes it."""
    command = [sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={proto.parent}"]
    command += [f"--python_out={destination}", f"--grpc_python_out={destination}", proto.name]
    subprocess.run(command, check=True)


@pytest.fixture(scope="session")
def generated(tmp_path_factory):
    """The modules that grpcio-tools generates from the .proto that is shipped: messages and stubs."""
    folder = tmp_path_factory.mktemp("generated")
    generate_client(PROTO_PATH, folder)
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module("inference_pb2"), importlib.import_module("inference_pb2_grpc")
    finally:
        sys.path.remove(str(folder))


@pytest.fixture(scope="session")
def connect(generated):
    """A function: a client of a running server."""
    channels = []

    def to(running):
        channels.append(grpc.insecure_channel(running.server.grpc.addresses[0]))
        return GrpcClient(channels[-1], *generated)

    yield to
    for channel in channels:
        channel.close()


@pytest.fixture(scope="module")
def server():
    """A model that answers every prompt with `ANSWER`, at a millisecond a step."""
    with serving(say(ANSWER), delay=0.001, grpc_port=0) as running:
        yield running


@pytest.fixture(scope="module")
def endless():
    """A model that never ends, at 5 ms a step."""
    with serving(
        lambda tokenizer, context, choice: 40 + len(context) % 26, delay=0.005, grpc_port=0
    ) as running:
        yield running


@pytest.fixture(scope="module")
def client(server, connect):
    return connect(server)
