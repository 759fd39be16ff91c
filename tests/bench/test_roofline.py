"""The roofline's account of a step: every operation once, shares of one, no number without a measurement."""

import json

import pytest

from gradus.bench import probe
from gradus.bench.ceilings import Ceilings
from gradus.bench.evidence import to_line
from gradus.bench.roofline import bench_roofline, time_step
from gradus.bench.step_batches import decode_shape, make_batch, prefill_shape
from gradus.config import EngineConfig
from gradus.errors import BackendError, ConfigError
from tests.tiny_models import tiny_backend, tiny_config

SHAPES = [decode_shape(1, 20), decode_shape(9, 20), prefill_shape(33)]


def nothing(*arguments):
    pass


def test_timing_a_step_does_not_change_what_it_computes():
    backend = tiny_backend()
    batch = make_batch(prefill_shape(40), backend.block_size, backend.vocab_size)
    try:
        before = backend.execute(batch).token_ids
        seconds = backend.time_operations(batch)
        after = backend.execute(batch).token_ids
    finally:
        backend.close()
    assert len(seconds) == len(backend_operations())
    assert all(second >= 0 for second in seconds)
    assert before.tolist() == after.tolist()


def backend_operations():
    backend = tiny_backend()
    operations = list(backend.operations)
    backend.close()
    assert backend.operations == []
    return operations


def test_every_operation_is_counted_once_and_shares_add_up():
    backend = tiny_backend()
    try:
        step = time_step(backend, tiny_config(), decode_shape(3, 20), 2, Ceilings())
        num_operations = len(backend.operations)
    finally:
        backend.close()
    assert sum(operation.count for operation in step.operations) == num_operations
    assert sum(operation.share for operation in step.operations) == pytest.approx(1)
    seconds = [operation.seconds for operation in step.operations]
    assert seconds == sorted(seconds, reverse=True)


def test_without_ceilings_there_is_no_bound():
    backend = tiny_backend()
    try:
        step = time_step(backend, tiny_config(), decode_shape(3, 20), 1, Ceilings())
    finally:
        backend.close()
    assert all(operation.as_dict()["of_bound"] is None for operation in step.operations)


@pytest.mark.parametrize("quantization", ["none", "int4"])
def test_the_document_has_ceilings_and_steps(quantization, monkeypatch):
    monkeypatch.setattr(probe, "READ_BYTES", 64 << 20)
    ceilings, steps = [], []
    config = EngineConfig(quantization=quantization, num_threads=2)
    document = bench_roofline(config, SHAPES, 2, ceilings.append, steps.append)
    document = json.loads(to_line(document))
    assert [step["step"]["name"] for step in document["results"]["steps"]] == [s.name for s in SHAPES]
    assert len(ceilings) == 1
    assert len(steps) == 3
    assert document["verification"]["every_operation_is_in_one_row"]
    assert "null" not in json.dumps(document)
    names = {operation["name"] for operation in document["results"]["steps"][0]["operations"]}
    assert {"attention", "embed"} <= names
    for step in document["results"]["steps"]:
        for operation in step["operations"]:
            assert ("of_bound" in operation) == ("bound" in operation)
            assert "macs_per_second" in operation or "bound" not in operation


def test_only_a_native_program_has_instructions_to_time():
    for config in (EngineConfig(enforce_eager=True), EngineConfig(backend="torch")):
        with pytest.raises(ConfigError, match="native"):
            bench_roofline(config, SHAPES, 1, nothing, nothing)
    backend = tiny_backend(enforce_eager=True)
    try:
        with pytest.raises(BackendError, match="op by op"):
            backend.time_operations(make_batch(SHAPES[0], 16, 97))
    finally:
        backend.close()
