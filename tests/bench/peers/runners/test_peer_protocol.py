"""The closed loop that every runner shares."""

from gradus.bench.peers.runners.peer_protocol import closed_loop


class Counting:
    """Gives each prompt in flight one token a step, from the step after its `delay` on; keeps a diary."""

    def __init__(self, delays=()):
        self.left = {}
        self.delays = dict(delays)
        self.most = 0
        self.order = []

    def start(self, index, prompt):
        self.left[index] = self.delays.get(index, 0)
        self.order.append(("start", index))
        self.most = max(self.most, len(self.left))

    def step(self):
        given = {}
        for index, wait in self.left.items():
            given[index] = 0 if wait else 1
            self.left[index] = max(0, wait - 1)
        return given

    def finish(self, index):
        del self.left[index]
        self.order.append(("finish", index))


def test_every_prompt_gets_its_tokens_and_never_too_many_run():
    loop = Counting({1: 3})
    prompts = [[i] * (i + 1) for i in range(5)]
    timings = closed_loop(loop, prompts, 4, 2)
    assert [timing["num_output_tokens"] for timing in timings] == [4] * 5
    assert [timing["num_prompt_tokens"] for timing in timings] == [1, 2, 3, 4, 5]
    assert loop.most == 2
    assert not loop.left
    for timing in timings:
        assert 0 <= timing["start"] <= timing["first_token"] <= timing["end"]


def test_the_next_begins_when_one_ends():
    loop = Counting({1: 100})
    closed_loop(loop, [[0], [1], [2]], 1, 2)
    assert loop.order[:4] == [("start", 0), ("start", 1), ("finish", 0), ("start", 2)]


def test_a_wait_before_the_first_token_is_part_of_it():
    timings = closed_loop(Counting({0: 5}), [[0], [1]], 2, 2)
    assert timings[0]["first_token"] > timings[1]["first_token"]
    assert timings[0]["end"] > timings[1]["end"]
