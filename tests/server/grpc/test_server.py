"""Where the server listens, what it tells of itself, and how it stops."""

import socket
import time

import grpc
import pytest
from google.protobuf import descriptor_pool, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from gradus.errors import ConfigError
from gradus.server.grpc.proto import HEALTH_SERVICE, REFLECTION_SERVICE, SERVICE
from gradus.server.run import bind
from gradus.server.settings import ServerSettings
from tests.server.grpc.harness import GrpcClient, texts_of
from tests.server.harness import say, serving

Code = grpc.StatusCode


def forever(tokenizer, context, choice):
    return 45


def test_a_unix_socket_and_a_port_serve_the_same(tmp_path, generated):
    path = tmp_path / "grpc.sock"
    with serving(say("Hello there"), grpc_port=0, grpc_uds=str(path)) as server:
        tcp, unix = server.server.grpc.addresses
        assert tcp.startswith("127.0.0.1:")
        assert unix == f"unix:{path}"
        assert path.is_socket()
        for address in (tcp, unix):
            with grpc.insecure_channel(address) as channel:
                client = GrpcClient(channel, *generated)
                assert texts_of(client.predict(client.request(trace_id="a"))) == {"a": "Hello there"}
    assert not path.exists()


def test_a_unix_socket_alone(tmp_path, generated):
    path = tmp_path / "grpc.sock"
    with serving(say("x"), grpc_uds=str(path)) as server:
        assert server.server.grpc.addresses == [f"unix:{path}"]


def test_without_a_flag_there_is_no_grpc():
    with serving(say("x")) as server:
        assert server.server.grpc is None


def test_a_reflection_client_finds_and_calls_the_service(server, answer):
    """It knows no .proto: names and messages come from the server."""
    with grpc.insecure_channel(server.server.grpc.addresses[0]) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert set(database.get_services()) == {SERVICE, HEALTH_SERVICE, REFLECTION_SERVICE}
        pool = descriptor_pool.DescriptorPool(database)
        for name in (HEALTH_SERVICE, REFLECTION_SERVICE):
            assert pool.FindServiceByName(name).methods
        method = pool.FindServiceByName(SERVICE).FindMethodByName("StreamPredict")
        request, response = (
            message_factory.GetMessageClass(d) for d in (method.input_type, method.output_type)
        )
        call = channel.stream_stream(
            f"/{SERVICE}/StreamPredict",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )
        assert "".join(each.chunk for each in call(iter([request(prompt="Hi")]))) == answer


def health_of(channel, service=""):
    return health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service)).status


def test_the_standard_health_service_tells_the_engine_s_state(connect):
    with serving(forever, grpc_port=0, health_stall_seconds=0.3) as server:
        client = connect(server)
        watched = health_pb2_grpc.HealthStub(client.channel).Watch(
            health_pb2.HealthCheckRequest(service=SERVICE)
        )
        assert next(watched).status == health_pb2.HealthCheckResponse.SERVING
        for service in ("", SERVICE):
            assert health_of(client.channel, service) == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.RpcError) as caught:
            health_of(client.channel, "no.such.Service")
        assert caught.value.code() == Code.NOT_FOUND
        server.backend.gate.clear()
        stuck = client.stub.StreamPredict(iter([client.request(max_new_tokens=2)]))
        time.sleep(0.5)
        for service in ("", SERVICE):
            assert health_of(client.channel, service) == health_pb2.HealthCheckResponse.NOT_SERVING
        assert not client.stub.Health(client.pb.WorkerHealthRequest()).healthy
        assert next(watched).status == health_pb2.HealthCheckResponse.NOT_SERVING
        server.backend.gate.set()
        list(stuck)
        assert next(watched).status == health_pb2.HealthCheckResponse.SERVING
        watched.cancel()


def test_stopping_lets_short_requests_finish_and_ends_long_ones(connect):
    """One stop for both front ends: who is new is refused, who takes too long is told why."""
    with serving(forever, delay=0.02, grpc_port=0, shutdown_timeout=1.0) as server:
        client = connect(server)
        short, long = (
            client.stub.StreamPredict(iter([client.request(trace_id="a", max_new_tokens=n)]))
            for n in (30, 900)
        )
        begun = [next(short), next(long)]
        server.server.should_exit = True
        deadline = time.monotonic() + 5
        while server.engine.is_healthy():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with pytest.raises(grpc.RpcError) as refused:
            client.predict(client.request())
        assert refused.value.code() == Code.UNAVAILABLE
        assert ("gradus-code", "shutting_down") in refused.value.trailing_metadata()
        texts_of([begun[0], *short])
        with pytest.raises(grpc.RpcError):
            list(long)
        assert long.code() == Code.UNAVAILABLE
        assert "shutting down" in long.details()


def test_requests_that_share_a_call_are_told_of_the_stop_by_messages(connect):
    with serving(forever, delay=0.01, grpc_port=0) as server:
        client = connect(server)
        call = client.stub.StreamPredict(iter([client.request(trace_id=name) for name in ("a", "b")]))
        begun = [next(call)]
        server.server.should_exit = True
        responses = begun + list(call)
        assert set(texts_of(responses)) == {"a", "b"}
        assert [r.error.code for r in responses if r.end_of_stream] == ["shutting_down"] * 2


def test_a_port_in_use_is_said_before_anything_else():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"gRPC on 127.0.0.1 port {port}.*--grpc-port"):
            bind(ServerSettings(port=0, grpc_port=port))


def test_a_path_that_cannot_be_had_is_said_before_anything_else(tmp_path):
    file = tmp_path / "file"
    file.write_text("precious")
    served = tmp_path / "served"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(served))
        listener.listen()
        for path, words in [
            (file, "no socket"),
            (served, "another server"),
            (tmp_path / "none" / "x", "folder"),
            (tmp_path / ("x" * 200), "107"),
        ]:
            with pytest.raises(ConfigError, match=f"{words}.*--grpc-uds"):
                bind(ServerSettings(port=0, grpc_uds=str(path)))
    assert file.read_text() == "precious"


def test_a_socket_that_a_dead_server_left_is_replaced(tmp_path, connect):
    left = tmp_path / "left"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(left))
    with serving(say("x"), grpc_uds=str(left)) as server:
        client = connect(server)
        assert client.control("ping")["status"] == "ok"


@pytest.mark.parametrize("port", [-1, 65536])
def test_ports_are_checked(port):
    with pytest.raises(ConfigError, match=f"grpc_port is {port}"):
        ServerSettings(grpc_port=port)
