"""Turns repeat what came before them, and wait for it."""

from hypothesis import given
from hypothesis import strategies as st

from gradus.bench.workloads.multi_turn import MultiTurnWorkload

NUMBERS = st.integers(1, 6)


@given(NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS, st.integers(0, 2))
def test_each_turn_repeats_the_prompt_before_it_and_comes_after_it(
    num_conversations, num_turns, input_len, turn_len, output_len, round_index
):
    workload = MultiTurnWorkload(
        name="drawn",
        concurrency=2,
        num_conversations=num_conversations,
        num_turns=num_turns,
        input_len=input_len,
        turn_len=turn_len,
        output_len=output_len,
    )
    requests = workload.requests(1000, round_index)
    assert requests == workload.requests(1000, round_index)
    assert len(requests) == num_conversations * num_turns
    first = [request for request in requests if request.after is None]
    assert [len(request.prompt) for request in first] == [input_len] * num_conversations
    for index, request in enumerate(requests):
        if request.after is None:
            continue
        before = requests[request.after]
        assert request.after == index - 1
        assert request.prompt[: len(before.prompt)] == before.prompt
        assert len(request.prompt) == before.context + turn_len  # the prompt, its reply, and what is new
    assert max(request.context for request in requests) == workload.max_context
