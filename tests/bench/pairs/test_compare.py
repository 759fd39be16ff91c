"""Every switch on the demo, with a small workload: sides that promise the same tokens give them."""

import json
from dataclasses import replace

import pytest

from gradus.bench.evidence import to_line
from gradus.bench.pairs.compare import bench_pair, pair_configs
from gradus.bench.pairs.switches import SWITCHES, find_switch
from gradus.bench.workloads.fixed import FixedWorkload
from gradus.config import EngineConfig
from gradus.errors import ConfigError

SMALL = FixedWorkload(name="small", num_requests=3, concurrency=2, input_len=40, output_len=4)
OWN = ("batching", "kv-layout", "chunked-prefill", "prefix-caching")  # those whose bound needs its workload


def paired(name, num_rounds=1, **changes):
    switch = replace(SWITCHES[name], **changes)
    return json.loads(to_line(bench_pair(EngineConfig(num_threads=1), switch, num_rounds, lambda name: None)))


@pytest.mark.parametrize("name", [name for name in SWITCHES if name not in OWN])
def test_a_switch_is_measured_and_its_promise_kept(name):
    document = paired(name, workload=SMALL)
    switch, results = SWITCHES[name], document["results"]
    assert document["parameters"]["switch"] == name
    assert set(results["sides"]) == set(switch.sides)
    assert set(results["ratios"]) == set(switch.sides) - {results["base"]}
    for side in results["sides"].values():
        assert set(switch.headlines) <= set(side)
    verification = document["verification"]
    assert ("all_sides_gave_the_same_tokens" in verification) == switch.same_tokens
    assert set(verification) >= {"every_request_gave_all_tokens"}
    assert all(holds for check, holds in verification.items() if check != "repeats")


def test_prefix_caching_finds_what_prompts_share_and_says_what_it_may_gain():
    workload = SWITCHES["prefix-caching"].workload.changed(input_len=100, num_requests=3)
    document = paired("prefix-caching", 2, workload=workload)
    results = document["results"]
    on, off = results["sides"]["on"], results["sides"]["off"]
    assert off["num_cached_prompt_tokens"]["median"] == 0
    assert (
        on["num_cached_prompt_tokens"]["median"] == 2 * 80
    )  # five whole blocks, by the second and the third
    assert on["num_computed_prompt_tokens"]["median"] == 300 - 160
    assert document["verification"]["the_cache_found_what_prompts_have_in_common"] is True
    bound = results["bound"]
    assert 100 / 20 - 1 < bound["bound"] < 100 / 20
    assert bound["least"] == pytest.approx(0.9 * bound["bound"])
    assert len(bound["measured"]["interval_95"]) == 2
    assert "measured ceilings" in document["method"]


def test_batches_take_the_steps_that_the_bound_counts():
    workload = SWITCHES["batching"].workload.changed(num_requests=16, max_output_len=12)
    document = paired("batching", workload=workload)
    results, verification = document["results"], document["verification"]
    assert verification["static_batches_took_the_steps_of_their_longest_outputs"] is True
    assert verification["all_sides_gave_the_same_tokens"] is True
    steps = {side: figures["num_steps"]["median"] for side, figures in results["sides"].items()}
    bound = results["bound"]
    assert steps["static"] == bound["steps_of_static_batches"] > steps["continuous"]
    assert steps["continuous"] >= bound["steps_of_full_batches"]


def test_paging_lets_in_what_the_memory_allows():
    document = paired("kv-layout")
    assert document["verification"]["contiguous_memory_held_a_sequence_per_slab"] is True
    bound = document["results"]["bound"]
    assert bound["is_reached"] is True  # a count, not a time
    assert bound["contiguous"] == 4 < bound["paged"] <= bound["allowed"]


def test_a_side_that_writes_other_tokens_is_noticed():
    document = paired("kv-dtype", workload=SMALL, same_tokens=True, sides={
        "none": {"quantization": "none"}, "int4": {"quantization": "int4"},
    })  # fmt: skip
    assert document["results"]["share_of_tokens_as_the_base"]["int4"] < 1
    assert document["verification"]["all_sides_gave_the_same_tokens"] is False


def test_the_context_is_the_workloads_unless_one_was_given():
    switch = replace(SWITCHES["graphs"], workload=SMALL)
    assert {c.max_model_len for c in pair_configs(EngineConfig(), switch).values()} == {44}
    assert {c.max_model_len for c in pair_configs(EngineConfig(max_model_len=90), switch).values()} == {90}
    assert [c.enforce_eager for c in pair_configs(EngineConfig(), switch).values()] == [True, False]


def test_an_unknown_switch_is_refused_with_those_that_exist():
    with pytest.raises(ConfigError, match="prefix-caching"):
        find_switch("none-such")
