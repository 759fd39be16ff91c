"""A real server process that the clients' tests share."""

import pytest

from gradus.bench.clients.own_server import OwnServer
from gradus.config import EngineConfig


@pytest.fixture(scope="session")
def own_server():
    """The embedded model, over HTTP and gRPC."""
    with OwnServer(EngineConfig(num_kv_blocks=256), has_grpc=True) as server:
        yield server
