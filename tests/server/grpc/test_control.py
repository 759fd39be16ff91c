"""Control's commands, and Health."""

import grpc
import pytest

import gradus
from tests.server.harness import MODEL, say, serving

Code = grpc.StatusCode


def refusal(client, command, **payload):
    with pytest.raises(grpc.RpcError) as caught:
        client.control(command, **payload)
    return caught.value


def test_ping_and_models(client):
    assert client.control("ping") == {"status": "ok", "version": gradus.__version__}
    assert client.control("list_models") == {"models": MODEL, "max_model_len": "1024"}


@pytest.mark.parametrize("command", ["", "load_model", "PING", "__init__", "x" * 1000])
def test_other_commands_are_refused_by_name_with_those_that_work(client, command):
    error = refusal(client, command)
    assert error.code() == Code.UNIMPLEMENTED
    assert repr(command[:100]) in error.details()
    assert "abort, get_streaming, list_models, ping, set_streaming, stats" in error.details()


@pytest.mark.parametrize("command", ["ping", "set_streaming", "abort"])
def test_a_payload_that_a_command_does_not_know_is_refused(client, command):
    error = refusal(client, command, colour="red")
    assert error.code() == Code.INVALID_ARGUMENT
    assert "'colour'" in error.details()


def test_stats_and_health_count_what_was_done(server, client):
    before, healthy = client.control("stats"), client.stub.Health(client.pb.WorkerHealthRequest())
    assert healthy.healthy
    assert dict(healthy.metrics) == before
    assert all(float(value) >= 0 for value in before.values())
    client.predict(client.request(max_new_tokens=5))
    server.wait_until_idle()
    after = client.control("stats")
    assert int(after["num_generated_tokens"]) == int(before["num_generated_tokens"]) + 5
    assert int(after["num_finished_length"]) == int(before["num_finished_length"]) + 1
    assert (after["num_requests_running"], after["kv_cache_usage_perc"]) == ("0", "0")


def test_health_says_that_the_engine_is_dead(connect):
    with serving(lambda *_: 45, grpc_port=0) as server:
        client = connect(server)
        server.backend.fail = True
        for _ in range(3):
            with pytest.raises(grpc.RpcError):
                client.predict(client.request())
        assert not client.stub.Health(client.pb.WorkerHealthRequest()).healthy


def test_streaming_can_be_set_while_the_server_runs(connect):
    with serving(say("word " * 50), delay=0.002, grpc_port=0) as server:
        client = connect(server)
        assert client.control("get_streaming") == {
            "stream_chunk_size": "default",
            "grpc_buffer_size": "8",
            "grpc_flush_interval_ms": "50",
        }
        many = client.control(
            "set_streaming", stream_chunk_size="1", grpc_buffer_size="1", grpc_flush_interval_ms="0.5"
        )
        assert many["grpc_flush_interval_ms"] == "0.5"
        fine = client.predict(client.request())
        client.control("set_streaming", stream_chunk_size="4096", grpc_flush_interval_ms="60000")
        coarse = client.predict(client.request())
        assert len(coarse) == 2  # the first text, and the rest with the end
        assert len(fine) > 10
        assert "".join(m.chunk for m in coarse) == "".join(m.chunk for m in fine) == "word " * 50
        assert client.control("set_streaming", stream_chunk_size="default")["stream_chunk_size"] == "default"


@pytest.mark.parametrize(
    ("field", "value"),
    [("stream_chunk_size", "0"), ("grpc_buffer_size", "many"), ("grpc_flush_interval_ms", "nan")],
)
def test_streaming_that_cannot_be_is_refused_and_changes_nothing(client, field, value):
    before = client.control("get_streaming")
    error = refusal(client, "set_streaming", **{field: value})
    assert error.code() == Code.INVALID_ARGUMENT
    assert field in error.details()
    assert value in error.details()
    assert client.control("get_streaming") == before


def test_a_request_is_aborted_by_its_trace_id(endless, connect):
    client = connect(endless)
    doomed, other = (
        client.stub.StreamPredict(iter([client.request(trace_id=name, max_new_tokens=100)]))
        for name in ("doomed", "other")
    )
    next(doomed)
    assert client.control("abort", trace_id="doomed") == {"num_aborted": "1"}
    with pytest.raises(grpc.RpcError):
        list(doomed)
    assert doomed.code() == Code.CANCELLED
    assert "'doomed'" in doomed.details()
    assert list(other)[-1].usage.completion_tokens == 100
    endless.wait_until_idle()
    assert endless.engine.stats().num_used_blocks == 0
    assert refusal(client, "abort", trace_id="doomed").code() == Code.NOT_FOUND
    assert refusal(client, "abort").code() == Code.INVALID_ARGUMENT
