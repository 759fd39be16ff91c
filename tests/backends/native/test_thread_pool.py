"""The thread pool: all work once, errors from any thread, no trouble with many pools."""

import threading

import pytest

from gradus.backends.native import _native


@pytest.mark.parametrize("num_threads", [1, 2, 3, 8])
@pytest.mark.parametrize(("size", "grain"), [(0, 1), (1, 1), (1000, 1), (1000, 7), (5, 100)])
def test_every_item_is_done_once(num_threads, size, grain):
    for _ in range(20):
        assert _native.parallel_sum(num_threads, size, grain) == size * (size - 1) // 2


@pytest.mark.parametrize("num_threads", [1, 2, 4])
def test_an_exception_in_a_worker_is_thrown_to_the_caller(num_threads):
    for failing in (0, 500, 999):
        with pytest.raises(_native.StepError, match=f"item {failing} failed"):
            _native.parallel_sum(num_threads, 1000, 1, failing)


def test_pools_of_several_callers_do_not_disturb_each_other():
    results = []

    def call():
        for _ in range(50):
            results.append(_native.parallel_sum(3, 300, 1))

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert results == [300 * 299 // 2] * 200


@pytest.mark.parametrize("num_threads", [1, 2, 5])
def test_a_loop_after_a_pause_finds_its_workers(num_threads):
    """Pieces of 1 ms outlast the spinning of a worker that has none, so it sleeps and is woken again."""
    seconds = _native.time_loops(num_threads, 20, 1e-3)
    assert len(seconds) == 20
    assert all(each > 0.9e-3 for each in seconds)
