"""The path of milestones on the demo: what each one turns, what it is compared with, and what is printed."""

import itertools
import json

import pytest

from gradus.bench.evidence import to_line
from gradus.bench.milestones import NAMES, PATHS, STEPS, Path, bench_milestones, find_path, num_runs
from gradus.bench.workloads.mixed import MixedWorkload
from gradus.cli.bench_milestones import print_milestones, print_steps, print_targets
from gradus.config import EngineConfig
from gradus.errors import ConfigError

PATH = Path(
    workload=MixedWorkload(
        name="small",
        concurrency=None,
        num_requests=8,
        prefix_len=32,
        min_input_len=4,
        max_input_len=12,
        min_output_len=3,
        max_output_len=8,
        long_input_len=84,
    ),
    num_streams=2,
    chunk=32,
)


def test_each_milestone_is_the_one_before_and_one_thing_more():
    changes = []
    settings = list(PATH.settings.values())
    for before, after in itertools.pairwise(settings):
        assert before.keys() == after.keys()
        changes.append({name for name in after if before[name] != after[name]})
    assert changes == [
        {"batching"},
        {"kv_layout", "num_kv_blocks"},
        {"attention"},
        {"enable_chunked_prefill", "max_num_batched_tokens"},
        {"enable_prefix_caching"},
        {"quantization"},
    ]


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_the_memory_of_keys_and_values_is_the_same_in_blocks_and_in_slabs(path):
    first, paged = path.settings["M1"], path.settings["M3"]
    assert first["num_kv_blocks"] * first["max_model_len"] == paged["num_kv_blocks"] * paged["block_size"]


@pytest.fixture(scope="module")
def document():
    reports = []
    found = bench_milestones(EngineConfig(num_threads=1), PATH, 1, reports.append)
    assert len(reports) == num_runs(1)
    return json.loads(to_line(found))


def test_what_was_counted_holds_and_milestones_give_the_tokens_they_promise(document):
    verification = document["verification"]
    assert {f"{name}_gave_the_tokens_of_{base}" for name, base in (("M2", "M1"), ("M6", "M4"))} <= set(
        verification
    )
    assert "M5_streams_ran_until_the_long_prompt_was_computed" in verification
    assert [name for name, holds in verification.items() if holds is False] == []


def test_milestones_show_what_each_step_is_for(document):
    found = document["results"]["milestones"]
    assert list(found) == list(NAMES)
    assert found["M1"]["num_resident_at_most"]["median"] == PATH.num_streams
    assert found["M3"]["num_resident_at_most"]["median"] > PATH.num_streams
    assert found["M2"]["num_steps"]["median"] < found["M1"]["num_steps"]["median"]
    assert found["M3"]["kv_bytes_per_resident"]["median"] < found["M2"]["kv_bytes_per_resident"]["median"]
    assert "prefix_cache_hit_rate" not in found["M5"]
    assert found["M6"]["prefix_cache_hit_rate"]["median"] > 0
    assert found["M7"]["weight_bytes"]["median"] < found["M6"]["weight_bytes"]["median"]
    assert "to_the_one_before" not in found["M1"]
    assert "to_M1" not in found["M1"]
    assert found["M2"]["to_the_one_before"] == found["M2"]["to_M1"]


def test_the_longest_context_is_a_slabs_then_what_others_leave_then_what_weights_free(document):
    contexts = [found["longest_context"] for found in document["results"]["milestones"].values()]
    assert contexts[0] == contexts[1] == PATH.context == 96
    mean = sum(r.context for r in PATH.workload.requests(2560, 1)) / 8
    assert contexts[2:6] == [(2 * 96 - round(mean + 0.5)) // 16 * 16] * 4
    assert contexts[6] == 2048  # of the model; four bits leave room for far more


def test_steps_stand_beside_their_bounds_and_the_published_targets(document):
    results = document["results"]
    assert {name: step["switch"] for name, step in results["steps"].items()} == STEPS
    for step in results["steps"].values():
        assert step["bound"]["measured"]["median"] > 0 < step["bound"]["bound"]
        assert step["method"]
        assert step["runs"]
    targets = results["published"]["targets"]
    assert list(targets) == ["M2", "M3", "M4", "M5", "M6", "M7"]
    assert targets["M6"][0]["measured"] == results["steps"]["M6"]["bound"]["measured"]["median"]
    gain = results["milestones"]["M2"]["to_the_one_before"]["output_tokens_per_second"]["median"]
    assert targets["M2"][0]["measured"] == gain
    assert all(("differs" in target) != target["is_met"] for found in targets.values() for target in found)


def test_people_see_every_milestone_step_and_target(document, capsys):
    results = document["results"]
    print_milestones(results["milestones"])
    print_steps(results["steps"])
    print_targets(results["published"])
    printed = capsys.readouterr().out
    for word in (*NAMES.values(), "tok/s to the one before", "bound", "folovllm", "3-5x", "longest context"):
        assert word in printed


def test_an_unknown_preset_is_refused_with_those_that_exist():
    with pytest.raises(ConfigError, match="milestones-cpu"):
        find_path("none-such")
