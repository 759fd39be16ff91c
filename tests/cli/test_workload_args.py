"""The flags of a workload, and what they make of it."""

import argparse

import pytest

from gradus.bench.workloads.open_loop import OpenLoop
from gradus.bench.workloads.registry import find_workload
from gradus.bench.workloads.sharegpt import ShareGptFile
from gradus.cli.engine_args import add_engine_arguments
from gradus.cli.workload_args import add_workload_arguments, bench_engine_config, workload_of
from gradus.errors import ConfigError


def parsed(*arguments):
    parser = argparse.ArgumentParser()
    add_engine_arguments(parser)
    add_workload_arguments(parser)
    return parser.parse_args(["demo", *arguments])


def test_without_flags_it_is_the_reference_and_nothing_is_found_in_a_cache():
    args = parsed()
    assert workload_of(args) is find_workload("reference")
    assert bench_engine_config(args).enable_prefix_caching is False


@pytest.mark.parametrize(
    ("flag", "is_on"), [("--enable-prefix-caching", True), ("--no-prefix-caching", False)]
)
def test_prefix_caching_is_on_where_it_is_asked_for(flag, is_on):
    assert bench_engine_config(parsed(flag)).enable_prefix_caching is is_on


def test_options_are_numbers_of_the_workloads_own():
    args = parsed("--workload", "shared-prefix", "--workload-option", "share-of-prompt=0.5")
    args.workload_option.append("seed=1")
    with pytest.raises(ConfigError, match="has no seed"):
        workload_of(args)
    args.workload_option[-1] = "input_len=10"
    assert (workload_of(args).prefix_len, workload_of(args).input_len) == (5, 10)
    args.input_len = 20
    with pytest.raises(ConfigError, match="input_len is given by a flag of its own"):
        workload_of(args)


def test_a_rate_makes_an_open_loop_of_any():
    workload = workload_of(parsed("--workload", "nano", "--request-rate", "2.5", "--concurrency", "4"))
    assert isinstance(workload, OpenLoop)
    assert (workload.request_rate, workload.burstiness, workload.concurrency) == (2.5, 1.0, 4)


def test_a_file_is_sharegpts():
    workload = workload_of(
        parsed("--workload", "sharegpt", "--workload-file", "x.json", "--num-requests", "7")
    )
    assert isinstance(workload, ShareGptFile)
    assert (workload.path, workload.num_requests) == ("x.json", 7)


@pytest.mark.parametrize(
    "option", ["concurrency", "concurrency=", "concurrency=two", "=3", "name=3", "path=1"]
)
def test_an_option_that_is_no_number_is_refused(option):
    with pytest.raises(ConfigError):
        workload_of(parsed("--workload-option", option))
