"""Errors: the status of a call with one request, a message in a call that others share; the others go on."""

import time

import grpc
import pytest

from gradus.server.grpc.proto import SERVICE
from tests.server.conftest import ANSWER
from tests.server.grpc.harness import Conversation, texts_of
from tests.server.harness import EOS, MODEL, say, serving

Code = grpc.StatusCode


def error_of(client, request, **options):
    with pytest.raises(grpc.RpcError) as caught:
        client.predict(request, **options)
    return caught.value


def trailing(error):
    return {key: value for key, value in error.trailing_metadata() if key.startswith(("gradus-", "retry-"))}


REFUSED = [
    # fields of the request, fields of generation, status, param, words of the text
    ({"model_id": "other"}, {}, Code.NOT_FOUND, "model_id", ["'other'", f"'{MODEL}'"]),
    ({"fields": {"adapter": "lora-1"}}, {}, Code.INVALID_ARGUMENT, "adapter", ["'lora-1'", "no adapters"]),
    ({"prompt": ""}, {}, Code.INVALID_ARGUMENT, "prompt", ["empty"]),
    ({"prompt": "x " * 2000}, {}, Code.INVALID_ARGUMENT, "prompt", ["1,024"]),
    ({}, {"max_new_tokens": 5000}, Code.INVALID_ARGUMENT, "generation.max_new_tokens", ["5,000", "1,024"]),
    ({}, {"temperature": -1}, Code.INVALID_ARGUMENT, "generation.temperature", ["-1", "100"]),
    ({}, {"temperature": float("nan")}, Code.INVALID_ARGUMENT, "generation.temperature", ["nan"]),
    ({}, {"top_p": 1.5}, Code.INVALID_ARGUMENT, "generation.top_p", ["1.5"]),
    ({}, {"repetition_penalty": -2}, Code.INVALID_ARGUMENT, "generation.repetition_penalty", ["-2"]),
    ({}, {"top_k": -2}, Code.INVALID_ARGUMENT, "generation.top_k", ["-2"]),
    ({}, {"min_p": 2}, Code.INVALID_ARGUMENT, "generation.min_p", ["2"]),
    ({}, {"stop": ["x"] * 40}, Code.INVALID_ARGUMENT, "generation.stop", ["32"]),
    ({}, {"stop_token_ids": [4000]}, Code.INVALID_ARGUMENT, "generation.stop_token_ids", ["4000", "429"]),
    ({}, {"logit_bias": {3: 1000.0}}, Code.INVALID_ARGUMENT, "generation.logit_bias", ["1000"]),
    ({}, {"min_tokens": 9, "max_new_tokens": 8}, Code.INVALID_ARGUMENT, "generation.min_tokens", ["9", "8"]),
    ({"fields": {"priority": -(2**31)}}, {}, Code.INVALID_ARGUMENT, "priority", ["-2147483648"]),
    ({"fields": {"stream_chunk_size": 0}}, {}, Code.INVALID_ARGUMENT, "stream_chunk_size", ["0", "4,096"]),
    ({"trace_id": "t" * 257}, {}, Code.INVALID_ARGUMENT, "metadata.trace_id", ["257", "256"]),
    ({"fields": {"worker_hint": "w" * 300}}, {}, Code.INVALID_ARGUMENT, "worker_hint", ["300", "256"]),
    ({"metadata": {"extra": {"k": "v" * 257}}}, {}, Code.INVALID_ARGUMENT, "metadata.extra", ["257"]),
    (
        {"metadata": {"extra": {str(i): "" for i in range(33)}}},
        {},
        Code.INVALID_ARGUMENT,
        "metadata.extra",
        ["33", "32"],
    ),
]


@pytest.mark.parametrize(("fields", "generation", "status", "param", "words"), REFUSED)
def test_what_is_refused_is_named(client, fields, generation, status, param, words):
    error = error_of(client, client.request(**fields, **generation))
    assert error.code() == status
    assert trailing(error)["gradus-param"] == param
    for word in words:
        assert word in error.details()
    assert "max_tokens" not in error.details().replace("max_new_tokens", "")


def test_an_error_among_others_is_a_message_and_the_others_go_on(client, answer):
    responses = client.predict(
        client.request(trace_id="bad", model_id="other"),
        client.request(trace_id="good"),
        client.request(trace_id="worse", top_p=7),
    )
    assert texts_of(responses) == {"good": answer, "bad": "", "worse": ""}
    errors = {r.trace_id: r.error for r in responses if r.HasField("error")}
    assert set(errors) == {"bad", "worse"}
    assert (errors["bad"].status, errors["bad"].code) == (Code.NOT_FOUND.value[0], "model_not_found")
    assert (errors["worse"].status, errors["worse"].param) == (
        Code.INVALID_ARGUMENT.value[0],
        "generation.top_p",
    )
    assert "7" in errors["worse"].message


def test_an_error_in_an_open_call_is_a_message_and_the_call_goes_on(client, answer):
    with Conversation(client) as call:
        call.send(client.request(trace_id="a", model_id="other"))
        refused = next(call.responses)
        assert refused.end_of_stream
        assert refused.error.code == "model_not_found"
        call.send(client.request(trace_id="b"))
        call.half_close()
        assert texts_of(call.responses) == {"b": answer}
        assert call.responses.code() == Code.OK


def test_an_only_request_s_error_is_the_status_in_a_call_that_stayed_open_too(client):
    with Conversation(client) as call:
        call.send(client.request(model_id="other"))
        assert next(call.responses).error.code == "model_not_found"
        call.half_close()
        with pytest.raises(grpc.RpcError):
            next(call.responses)
        assert call.responses.code() == Code.NOT_FOUND


def test_a_trace_id_in_flight_is_refused_and_free_again_afterwards(endless, connect):
    client = connect(endless)
    first, second = (client.request(trace_id="same", max_new_tokens=n) for n in (50, 60))
    responses = client.predict(first, second)
    (refused,) = [response for response in responses if response.HasField("error")]
    assert refused.error.status == Code.ALREADY_EXISTS.value[0]
    assert refused.error.param == "metadata.trace_id"
    responses.remove(refused)
    texts_of(responses)
    assert responses[-1].usage.completion_tokens == 50
    with Conversation(client) as call:
        for _ in range(2):
            call.send(client.request(trace_id="same", max_new_tokens=1))
            assert next(call.responses).finish_reason == "length"


def test_a_full_queue_is_resource_exhausted(connect):
    with serving(lambda *_: 45, grpc_port=0, max_queued_requests=2) as server:
        client = connect(server)
        server.backend.gate.clear()
        running = client.stub.StreamPredict(
            iter([client.request(trace_id=f"{i}", max_new_tokens=2) for i in range(3)])
        )
        deadline = time.monotonic() + 5
        error = None
        while error is None or error.code() == Code.DEADLINE_EXCEEDED:
            assert time.monotonic() < deadline
            error = error_of(client, client.request(max_new_tokens=2), timeout=0.2)
        server.backend.gate.set()
        assert error.code() == Code.RESOURCE_EXHAUSTED
        assert trailing(error)["gradus-code"] == "queue_full"
        assert int(trailing(error)["retry-after"]) >= 1
        list(running)
        server.wait_until_idle()
        assert client.predict(client.request(max_new_tokens=2))[-1].finish_reason == "length"


def test_a_failed_step_is_internal_and_a_dead_engine_unavailable(connect):
    with serving(lambda *_: 45, delay=0.005, grpc_port=0) as server:
        client = connect(server)
        responses = client.stub.StreamPredict(iter([client.request()]))
        next(responses)
        server.backend.fail = True
        with pytest.raises(grpc.RpcError) as caught:
            list(responses)
        assert caught.value.code() == Code.INTERNAL
        assert "the script says" in caught.value.details()
        for _ in range(2):
            error_of(client, client.request())
        error = error_of(client, client.request())
        assert error.code() == Code.UNAVAILABLE
        assert trailing(error)["gradus-code"] == "engine_dead"
        assert "the script says" in error.details()


def test_a_defect_of_the_server_is_internal_and_stays_in_the_log(server, client, monkeypatch, caplog):
    def broken(*_, **__):
        raise KeyError("secret detail")

    with monkeypatch.context() as patch:
        patch.setattr("gradus.server.grpc.predict.engine_request", broken)
        error = error_of(client, client.request())
    assert error.code() == Code.INTERNAL
    assert "secret" not in error.details()
    assert "secret detail" in caplog.text
    assert client.predict(client.request())


def test_a_message_that_is_too_long_is_refused_by_its_size(connect):
    with serving(say("x"), grpc_port=0, max_body_bytes=1000) as server:
        error = error_of(connect(server), connect(server).request("x" * 2000))
        assert error.code() == Code.RESOURCE_EXHAUSTED
        assert "1000" in error.details()


def test_bytes_that_are_no_message_end_the_call_only(server, client, answer):
    call = client.channel.stream_stream("/cy.llm.AiInference/StreamPredict")
    with pytest.raises(grpc.RpcError):
        list(call(iter([b"\xff\xff\xff\xff"])))
    assert set(texts_of(client.predict(client.request(trace_id="a"))).values()) == {answer}
    assert EOS  # the model ended the text itself


def test_bytes_that_are_no_message_are_refused_and_harm_no_other_request(server, client):
    predict = client.channel.stream_stream(f"/{SERVICE}/StreamPredict")
    alone = predict(iter([b"\xff" * 9]), timeout=60)
    with pytest.raises(grpc.RpcError) as refused:
        list(alone)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "no message" in refused.value.details()
    good = client.request("Hi", trace_id="good").SerializeToString()
    messages = [client.pb.StreamPredictResponse.FromString(m) for m in predict(iter([b"\xff" * 9, good]))]
    texts = texts_of(messages)
    assert texts.pop("good") == ANSWER
    assert list(texts.values()) == [""]
    assert [m.error.code for m in messages if m.HasField("error")] == ["invalid_message"]


@pytest.mark.parametrize("method", ["Control", "Health"])
def test_a_call_of_bytes_that_are_no_message_is_refused(client, method):
    with pytest.raises(grpc.RpcError) as refused:
        client.channel.unary_unary(f"/{SERVICE}/{method}")(b"\xff" * 9, timeout=60)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
