"""Keys over gRPC: who is let in, who may do what, and what tenants share."""

import logging
import time
from contextlib import contextmanager

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.server.certificates import make_certificates
from tests.server.grpc.harness import GrpcClient
from tests.server.harness import say, serving

Code = grpc.StatusCode
KEY, OTHER_KEY, ADMIN_KEY = "key-one", "key-two", "key-admin"


@pytest.fixture(scope="module")
def guarded():
    keys = {"api_key": (KEY, OTHER_KEY), "admin_api_key": (ADMIN_KEY,)}
    with serving(lambda *_: 45, delay=0.005, grpc_port=0, **keys) as running:
        yield running


class _WithMetadata(
    grpc.UnaryUnaryClientInterceptor, grpc.StreamStreamClientInterceptor, grpc.UnaryStreamClientInterceptor
):
    def __init__(self, *metadata):
        self._metadata = metadata

    def _call(self, continuation, details, request):
        return continuation(details._replace(metadata=self._metadata), request)

    intercept_unary_unary = intercept_stream_stream = intercept_unary_stream = _call


@contextmanager
def presenting(server, generated, *metadata):
    with grpc.insecure_channel(server.server.grpc.addresses[0]) as channel:
        yield GrpcClient(grpc.intercept_channel(channel, _WithMetadata(*metadata)), *generated)


def bearer(key):
    return ("authorization", f"Bearer {key}")


def calls(client):
    """Every method that is not open, and one that does not exist."""
    reflection = reflection_pb2_grpc.ServerReflectionStub(client.channel)
    ask = reflection_pb2.ServerReflectionRequest(list_services="")
    nowhere = client.channel.unary_unary("/cy.llm.AiInference/Nowhere")
    return {
        "StreamPredict": lambda: client.predict(client.request(max_new_tokens=1)),
        "Control": lambda: client.control("ping"),
        "Health": lambda: client.stub.Health(client.pb.WorkerHealthRequest()),
        "reflection": lambda: list(reflection.ServerReflectionInfo(iter([ask]))),
        "nowhere": lambda: nowhere(b""),
    }


@pytest.mark.parametrize(
    "metadata",
    [(), (bearer("wrong"),), (("x-api-key", "wrong"),), (bearer(""),), (("authorization", KEY),)],
)
def test_without_a_key_that_is_known_nothing_is_answered(guarded, generated, metadata):
    with presenting(guarded, generated, *metadata) as client:
        for name, call in calls(client).items():
            with pytest.raises(grpc.RpcError) as caught:
                call()
            assert caught.value.code() == Code.UNAUTHENTICATED, name
            assert "key" in caught.value.details()
            assert "wrong" not in caught.value.details()


@pytest.mark.parametrize(
    "metadata", [bearer(KEY), ("x-api-key", OTHER_KEY), ("authorization", "bearer key-one")]
)
def test_a_known_key_opens_everything_that_exists(guarded, generated, metadata):
    with presenting(guarded, generated, metadata) as client:
        for name, call in calls(client).items():
            if name != "nowhere":
                assert call()
        with pytest.raises(grpc.RpcError) as caught:
            calls(client)["nowhere"]()
        assert caught.value.code() == Code.UNIMPLEMENTED


def test_the_standard_health_service_is_open(guarded, generated):
    with presenting(guarded, generated) as client:
        stub = health_pb2_grpc.HealthStub(client.channel)
        assert stub.Check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING


def test_what_concerns_everybody_is_for_admins(guarded, generated):
    with presenting(guarded, generated, bearer(KEY)) as client:
        with pytest.raises(grpc.RpcError) as caught:
            client.control("set_streaming", stream_chunk_size="2")
        assert caught.value.code() == Code.PERMISSION_DENIED
        assert client.control("get_streaming")["stream_chunk_size"] == "default"
    with presenting(guarded, generated, bearer(ADMIN_KEY)) as admin:
        assert admin.control("set_streaming", stream_chunk_size="2")["stream_chunk_size"] == "2"
        admin.control("set_streaming", stream_chunk_size="default")


def test_only_one_s_own_requests_can_be_aborted(guarded, generated):
    with (
        presenting(guarded, generated, bearer(KEY)) as owner,
        presenting(guarded, generated, bearer(OTHER_KEY)) as other,
    ):
        running = owner.stub.StreamPredict(iter([owner.request(trace_id="mine", max_new_tokens=900)]))
        next(running)
        with pytest.raises(grpc.RpcError) as caught:
            other.control("abort", trace_id="mine")
        assert caught.value.code() == Code.NOT_FOUND
        assert owner.control("abort", trace_id="mine") == {"num_aborted": "1"}
        with pytest.raises(grpc.RpcError):
            list(running)


def test_tenants_without_keys_have_limits_of_their_own(connect):
    with serving(say("x"), grpc_port=0, key_requests_per_minute=2) as server:
        client = connect(server)

        def ask(tenant):
            return client.predict(client.request(metadata={"tenant": tenant}))

        for tenant in ("a", "b"):
            for _ in range(2):
                assert ask(tenant)
            with pytest.raises(grpc.RpcError) as caught:
                ask(tenant)
            assert caught.value.code() == Code.RESOURCE_EXHAUSTED
            trailing = dict(caught.value.trailing_metadata())
            assert trailing["gradus-code"] == "requests_limit"
            assert int(trailing["retry-after"]) >= 1


def test_tenants_do_not_share_the_prefix_cache(connect):
    with serving(say("x"), grpc_port=0) as server:
        client = connect(server)
        prompt = "The same long beginning of a prompt. " * 4

        def cached(tenant):
            responses = client.predict(client.request(prompt, metadata={"tenant": tenant}))
            return responses[-1].usage.cached_tokens

        assert [cached(tenant) > 0 for tenant in ("a", "a", "b", "", "b", "")] == [
            False,
            True,
            False,
            False,
            True,
            True,
        ]


def test_a_deadline_of_the_server_is_told(connect):
    with serving(lambda *_: 45, delay=0.01, grpc_port=0, request_timeout=0.2) as server:
        client = connect(server)
        with pytest.raises(grpc.RpcError) as caught:
            client.predict(client.request())
        assert caught.value.code() == Code.DEADLINE_EXCEEDED
        assert "0.2 seconds" in caught.value.details()
        server.wait_until_idle()


@pytest.mark.parametrize("needs_client_certificate", [False, True])
def test_tls(tmp_path, generated, needs_client_certificate):
    make_certificates(tmp_path)
    files = {"ssl_certfile": str(tmp_path / "server.pem"), "ssl_keyfile": str(tmp_path / "server.key")}
    if needs_client_certificate:
        files["ssl_ca_certs"] = str(tmp_path / "ca.pem")
    authority, key, certificate = (
        (tmp_path / name).read_bytes() for name in ("ca.pem", "client.key", "client.pem")
    )

    def is_let_in(channel):
        with channel:
            try:
                return GrpcClient(channel, *generated).control("ping")["status"] == "ok"
            except grpc.RpcError as error:
                return error.code() != Code.UNAVAILABLE

    with serving(say("x"), grpc_port=0, **files) as server:
        address = server.server.grpc.addresses[0]
        known = grpc.ssl_channel_credentials(authority, key, certificate)
        assert is_let_in(grpc.secure_channel(address, known))
        anybody = grpc.ssl_channel_credentials(authority)
        assert is_let_in(grpc.secure_channel(address, anybody)) is not needs_client_certificate
        assert not is_let_in(grpc.insecure_channel(address))


def test_caps_on_lists_hold_here_too(connect):
    with serving(say("x"), grpc_port=0, max_stop_strings=2) as server:
        client = connect(server)
        assert client.predict(client.request(stop=["a", "b"]))
        with pytest.raises(grpc.RpcError) as caught:
            client.predict(client.request(stop=["a", "b", "c"]))
        assert caught.value.code() == Code.INVALID_ARGUMENT
        assert "at most 2" in caught.value.details()


@pytest.fixture
def log(caplog):
    """The fields of the lines of requests, once there are so many."""
    caplog.set_level(logging.INFO, logger="gradus")

    def read(count):
        deadline = time.monotonic() + 30
        while len(lines := [r.fields for r in caplog.records if r.getMessage() == "request"]) < count:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        assert len(lines) == count
        assert "sesame" not in caplog.text + str(lines)
        return lines

    return read


def test_who_is_not_let_in_has_a_line_with_the_address(guarded, generated, log):
    with presenting(guarded, generated, bearer("sesame")) as client:
        for call in calls(client).values():
            with pytest.raises(grpc.RpcError):
                call()
    lines = log(5)
    routes = [
        "/cy.llm.AiInference/StreamPredict",
        "/cy.llm.AiInference/Control",
        "/cy.llm.AiInference/Health",
    ]
    assert [line["route"] for line in lines[:3]] == routes
    assert all(line["request_id"].startswith("grpc-") for line in lines)
    told = {(line["status"], line["error"], line["address"]) for line in lines}
    assert told == {("UNAUTHENTICATED", "invalid_api_key", "127.0.0.1")}


def test_who_is_refused_by_name_has_a_line_with_name_and_address(generated, log):
    with (
        serving(say("x"), grpc_port=0, api_key=("sesame",), key_requests_per_minute=1) as server,
        presenting(server, generated, bearer("sesame")) as client,
    ):
        assert client.predict(client.request(trace_id="first"))
        with pytest.raises(grpc.RpcError):
            client.predict(client.request(trace_id="second"))
        with pytest.raises(grpc.RpcError):
            client.control("reboot")
        fields = ("request_id", "client", "status", "error", "address")
        told = [[line.get(name) for name in fields] for line in log(3)]
    assert told == [
        ["first", "api-1", "OK", None, None],
        ["second", "api-1", "RESOURCE_EXHAUSTED", "requests_limit", "127.0.0.1"],
        ["t-1", "api-1", "UNIMPLEMENTED", "unknown_command", "127.0.0.1"],
    ]
