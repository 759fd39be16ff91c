from tests.server.conftest import answer, endless, server

__all__ = ["answer", "endless", "server"]
