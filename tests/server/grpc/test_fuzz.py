"""Requests whose fields are drawn: each is answered, or refused with a status that says why."""

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gradus.server.grpc.proto import POOL, ControlMessage, StreamPredictRequest, WorkerHealthRequest
from tests.server.grpc.harness import texts_of
from tests.server.harness import MODEL, say, serving

FUZZ = settings(max_examples=200, derandomize=True, suppress_health_check=list(HealthCheck))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
EDGES = [0, 1, -1, 2**31 - 1, -(2**31), 2**31, 2**32 - 1, 2**63 - 1, -(2**63), 2**64 - 1]


def integers(lowest, highest):
    edges = [edge for edge in EDGES if lowest <= edge <= highest]
    return st.sampled_from(edges) | st.integers(0, 20) | st.integers(lowest, highest)


SCALARS = {
    "TYPE_STRING": TEXTS,
    "TYPE_BOOL": st.booleans(),
    "TYPE_DOUBLE": st.floats() | st.floats(0, 2),
    "TYPE_FLOAT": st.floats(width=32),
    "TYPE_INT32": integers(-(2**31), 2**31 - 1),
    "TYPE_UINT32": integers(0, 2**32 - 1),
    "TYPE_INT64": integers(-(2**63), 2**63 - 1),
    "TYPE_UINT64": integers(0, 2**64 - 1),
}
SERVED_NAMES = {"prompt": st.just("Hi") | TEXTS, "model_id": st.sampled_from(["", MODEL, "other"])}
REFUSALS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.PERMISSION_DENIED,
}


def values_of(field):
    """A field's values, whatever its kind."""
    if field.type == field.TYPE_MESSAGE:
        return fields_of(field.message_type)
    names = {getattr(field, name): name for name in SCALARS}
    return SERVED_NAMES.get(field.name, SCALARS[names[field.type]])


def fields_of(descriptor):
    """Keyword arguments of a message: any of its fields, with any values that their types allow."""
    drawn = {}
    for field in descriptor.fields:
        values = values_of(field)
        if field.type == field.TYPE_MESSAGE and field.message_type.GetOptions().map_entry:
            key, value = (values_of(field.message_type.fields_by_name[name]) for name in ("key", "value"))
            values = st.dictionaries(key, value, max_size=3)
        elif field.is_repeated:
            values = st.lists(values, max_size=3)
        drawn[field.name] = values
    return st.fixed_dictionaries({}, optional=drawn)


def messages_of(kind):
    return fields_of(kind.DESCRIPTOR).map(lambda fields: kind(**fields))


def check_refusal(error):
    assert error.code() in REFUSALS
    assert error.details()


@pytest.fixture(scope="module")
def server():
    with serving(say("fine"), max_model_len=64, num_blocks=64, grpc_port=0) as running:
        yield running
        running.wait_until_idle()
        running.engine._core.check_integrity()


def test_the_strategy_draws_every_field():
    assert len(POOL.FindMessageTypeByName("cy.llm.GenerationParameters").fields) > 15
    fields_of(StreamPredictRequest.DESCRIPTOR).validate()


def test_a_request_of_any_values_is_answered_or_refused(client):
    ends = set()

    @FUZZ
    @given(messages_of(StreamPredictRequest))
    def check(drawn):
        request = client.pb.StreamPredictRequest.FromString(drawn.SerializeToString())
        try:
            messages = client.predict(request)
        except grpc.RpcError as error:
            check_refusal(error)
            ends.add(error.code())
        else:
            assert len(texts_of(messages)) == 1
            assert messages[-1].finish_reason in ("stop", "length")
            ends.add("answered")

    check()
    assert {"answered", grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND} <= ends


def test_a_command_of_any_values_is_obeyed_or_refused(client):
    commands = st.sampled_from(["ping", "stats", "abort", "set_streaming", "get_streaming", "list_models"])
    payloads = st.dictionaries(
        TEXTS | st.sampled_from(["trace_id", "stream_chunk_size", "grpc_flush_interval_ms"]),
        TEXTS | st.sampled_from(["1", "0", "-1", "nan", "inf", "1e999", "default", "9" * 5000]),
        max_size=2,
    )

    @FUZZ
    @given(messages_of(ControlMessage) | st.builds(ControlMessage, command=commands, payload=payloads))
    def check(drawn):
        try:
            client.stub.Control(client.pb.ControlMessage.FromString(drawn.SerializeToString()), timeout=60)
        except grpc.RpcError as error:
            check_refusal(error)

    check()


def test_health_takes_any_trace_id(client):
    @settings(FUZZ, max_examples=20)
    @given(messages_of(WorkerHealthRequest))
    def check(drawn):
        request = client.pb.WorkerHealthRequest.FromString(drawn.SerializeToString())
        assert client.stub.Health(request, timeout=60).healthy

    check()
