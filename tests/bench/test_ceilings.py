"""Ceilings are rates, and bounds follow from them."""

import pytest

from gradus.backends.native import _native
from gradus.bench.ceilings import NUM_PASSES, Ceilings
from gradus.bench.op_costs import OpCost

VECTOR_VARIANTS = [variant for variant in _native.available_variants() if variant != "portable"]


@pytest.mark.parametrize("kind", ["f32", "bf16", "int8", "int4"])
def test_every_vector_variant_has_its_instructions_timed(kind):
    for variant in VECTOR_VARIANTS:
        if kind == "bf16" and not _native.has_bf16_attention(variant):
            assert _native.time_multiply_adds(variant, kind, 2, NUM_PASSES) == []
            continue
        rates = _native.time_multiply_adds(variant, kind, 2, NUM_PASSES)
        assert len(rates) == NUM_PASSES
        assert all(rate > 1e8 for rate in rates)


def test_the_portable_variant_has_no_instruction_of_its_own():
    assert _native.time_multiply_adds("portable", "f32", 1, 1) == []


@pytest.mark.parametrize(
    ("variant", "kind", "threads"), [("z80", "f32", 1), ("portable", "f64", 1), ("portable", "f32", 0)]
)
def test_what_does_not_exist_is_refused(variant, kind, threads):
    with pytest.raises(ValueError):
        _native.time_multiply_adds(variant, kind, threads, 1)


def test_the_bound_is_the_slower_of_arithmetic_and_memory():
    ceilings = Ceilings({("int4", 2): [50.0, 100.0]}, {2: [10.0, 8.0]})
    assert ceilings.bound(OpCost("a", (("int4", 1000),), 20), 2) == (10.0, "arithmetic")
    assert ceilings.bound(OpCost("b", (("int4", 100),), 20), 2) == (2.0, "memory")
    assert ceilings.bound(OpCost("c", (("f32", 1000),), 20), 2) == (2.0, "memory")  # no such ceiling
    assert ceilings.bound(OpCost("d"), 2) is None
    assert ceilings.bound(OpCost("e", (("int4", 1000),), 20), 4) is None


def test_an_operations_kinds_of_arithmetic_follow_each_other():
    ceilings = Ceilings({("bf16", 2): [10.0], ("int8", 2): [40.0]}, {2: [10.0]})
    both = (("int8", 400), ("bf16", 400))
    assert ceilings.bound(OpCost("a", both, 20), 2) == (50.0, "arithmetic")
    assert ceilings.bound(OpCost("b", (*both, ("f32", 1)), 20), 2) == (2.0, "memory")


def test_what_was_measured_is_told_per_kind_and_threads():
    found = Ceilings({("f32", 1): [1.0, 3.0]}, {1: [5.0]}).as_dict()
    assert found["multiply_adds_per_second"] == [
        {"kind": "f32", "num_threads": 1, "median": 2.0, "min": 1.0, "max": 3.0, "stdev": 2**0.5}
    ]
    assert found["read_bytes_per_second"] == [{"num_threads": 1, "median": 5.0, "min": 5.0, "max": 5.0}]
