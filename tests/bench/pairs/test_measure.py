"""What is kept of each run, and that a wrong count or another token is noticed."""

from dataclasses import replace

import pytest

from gradus.bench.pairs.measure import agreement, checks, measure, open_engines
from gradus.bench.workloads.fixed import FixedWorkload
from gradus.config import EngineConfig

WORKLOAD = FixedWorkload(name="small", num_requests=3, concurrency=3, input_len=20, output_len=4)


@pytest.fixture(scope="module")
def measured():
    config = EngineConfig(max_model_len=64, num_kv_blocks=16, enable_prefix_caching=False)
    sides = {"a": config, "b": replace(config, batching="static")}
    reports = []
    with open_engines(sides) as engines:
        found = measure(engines, WORKLOAD, 2, reports.append)
    assert sorted(reports[:2]) == ["a, warm-up", "b, warm-up"]
    assert len(reports) == 6
    return found


def test_every_side_has_a_run_per_round_of_the_same_requests(measured):
    assert measured.base == "a"
    assert {side: len(runs) for side, runs in measured.runs.items()} == {"a": 2, "b": 2}
    assert measured.requests == [WORKLOAD.requests(2560, 1), WORKLOAD.requests(2560, 2)]
    assert [run["side"] for run in measured.rounds.runs()] == ["a", "b", "a", "b"]


def test_figures_are_the_engines_counts(measured):
    figures = measured.rounds.figures["a"][0]
    assert figures["num_computed_prompt_tokens"] == 60
    assert figures["num_cached_prompt_tokens"] == 0
    assert "prefix_cache_hit_rate" not in figures  # the cache is off
    assert figures["num_resident_at_most"] == 3
    block_bytes = 16 * measured.engines["a"].cache.token_bytes
    assert figures["kv_held_bytes"] == 6 * block_bytes  # 20 to 23 tokens in two blocks each
    assert figures["kv_bytes_per_resident"] == 2 * block_bytes
    assert figures["num_steps"] == 4
    assert 0 < figures["itl_p99_seconds"] <= figures["longest_gap_seconds"]


def test_what_was_counted_is_checked(measured):
    assert set(checks(measured).values()) == {True}
    first, *rest = measured.runs["a"]
    for change, broken in (
        ({"num_generated_tokens": 11}, "the_engine_counted_the_same_output_tokens"),
        ({"num_cached_prompt_tokens": 1}, "every_prompt_token_was_computed_or_found_in_the_cache"),
        ({"token_ids": [[1]] * 3}, "every_request_gave_all_tokens"),
    ):
        wrong = replace(measured, runs={**measured.runs, "a": [replace(first, **change), *rest]})
        assert [name for name, holds in checks(wrong).items() if not holds] == [broken]


def test_agreement_is_the_share_of_tokens_in_their_places(measured):
    ours = measured.runs["a"]
    assert agreement(ours, measured.runs["b"]) == 1.0
    tokens = [list(token_ids) for token_ids in ours[0].token_ids]
    tokens[1][2] += 1
    assert agreement([replace(ours[0], token_ids=tokens)], ours[:1]) == pytest.approx(11 / 12)
