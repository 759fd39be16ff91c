"""Where a call comes from, as grpcio tells it."""

import pytest

from gradus.server.grpc.call import address_of


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:192.0.2.7:4711", "192.0.2.7"),
        ("ipv6:%5B2001:db8::1%5D:4711", "2001:db8::1"),
        ("ipv6:[::1]:4711", "::1"),
        ("unix:/run/gradus.sock", None),
        ("unix:", None),
        ("unknown", None),
    ],
)
def test_the_address_is_the_host_without_the_port(peer, address):
    assert address_of(peer) == address
