"""A server process of our own: its beginning and its end."""

import httpx
import pytest

from gradus.bench.clients.own_server import OwnServer, ServerStartError
from gradus.config import EngineConfig


def test_a_server_answers_says_what_it_takes_and_ends_in_order(tiny_model_path):
    with OwnServer(EngineConfig(model=str(tiny_model_path))) as server:
        assert httpx.get(f"{server.url}/health", timeout=30).status_code == 200
        usage = server.usage()
        assert usage["resident_bytes"] > 2**20
        assert usage["threads"] >= 1
        assert usage["open_files"] >= 3
        assert server.close() == 0
    assert server.usage() == {}


def test_a_server_that_cannot_start_says_why():
    with pytest.raises(ServerStartError, match=r"ended with \d.*no-such-model"):
        OwnServer(EngineConfig(model="./no-such-model"))
