"""Clients that are slow on purpose: a connection ends when a request's head or body takes too long."""

import socket
import time

import pytest

from tests.server.harness import say, serving

HEAD = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
BODY = b'{"prompt": "Hi", "max_tokens": 3}'


@pytest.fixture(scope="module")
def impatient():
    with serving(lambda *_: 45, delay=0.02, head_timeout=0.6, body_timeout=0.6) as running:
        yield running


def connect(server):
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=30)


def dribble(connection, data, pause=0.1):
    """Send a byte now and then until the other side has closed; returns what it said."""
    received = b""
    connection.settimeout(pause)
    for byte in data:
        try:
            connection.sendall(bytes([byte]))
            received += (part := connection.recv(4096))
            if not part:
                return received
        except TimeoutError:
            continue
        except OSError:
            return received
    raise AssertionError("the connection was not ended")


def read_until_closed(connection):
    received = b""
    while part := connection.recv(4096):
        received += part
    return received


def test_nothing_sent_and_a_head_byte_by_byte_end(impatient):
    with connect(impatient) as silent, connect(impatient) as slow:
        assert dribble(slow, HEAD + b"X-A: " + b"b" * 10_000) == b""
        assert silent.recv(1) == b""


def test_a_body_byte_by_byte_ends_whoever_reads_it(impatient):
    for path in (b"/v1/completions", b"/nope"):
        with connect(impatient) as slow:
            head = HEAD.replace(b"/v1/completions", path) + b"Content-Length: 100000\r\n\r\n"
            slow.sendall(head)
            assert b" 200 " not in dribble(slow, b" " * 10_000)


def test_the_time_starts_anew_with_each_request_and_answers_take_as_long_as_they_take(impatient):
    whole = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY)
    with connect(impatient) as connection:
        for _ in range(3):
            time.sleep(0.3)
            connection.sendall(whole + BODY)
            received = b""
            while b"usage" not in received:
                received += connection.recv(65536)
            assert b"200 OK" in received
    long = BODY.replace(b"3", b"80")  # 1.6 s of steps
    with connect(impatient) as connection:
        connection.sendall(HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(long) + long)
        assert b"200 OK" in read_until_closed(connection)


def test_a_body_that_is_too_long_is_answered_before_it_has_come():
    with serving(say("x"), max_body_bytes=1000) as server, connect(server) as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1000\r\n" + b" " * 4096)
        assert read_until_closed(connection).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("num_events_first", [0, 2])
def test_what_is_not_http_ends_a_request_once(impatient, caplog, num_events_first):
    """In the middle of a body, or behind it while the answer is sent."""
    body = b'{"prompt": "Hi", "max_tokens": 900, "stream": true}'
    head = HEAD + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connect(impatient) as client:
        client.sendall(head + (b"%x\r\n%s\r\n" % (len(body), body)))
        received = b""
        if num_events_first:
            client.sendall(b"0\r\n\r\n")
            while received.count(b"data: ") < num_events_first:
                received += client.recv(4096)
        client.sendall(b"zz\r\n")
        received += read_until_closed(client)
    assert received.count(b"HTTP/1.1") == 1
    assert b"[DONE]" not in received
    assert (b" 400 " in received) == (num_events_first == 0)
    impatient.wait_until_idle()
    assert not [record for record in caplog.records if record.exc_info]


def test_what_is_not_http_behind_a_head_that_is_refused_is_answered_once(impatient, caplog):
    """The route answers without the body, at the moment at which the body turns out to be none."""
    head = HEAD.replace(b"/v1/completions", b"/nope")
    with connect(impatient) as client:
        client.sendall(head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n")
        assert read_until_closed(client).count(b"HTTP/1.1") == 1
    assert not [record for record in caplog.records if record.exc_info]
