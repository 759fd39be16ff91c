"""Requests that can be sent as token ids and as text alike."""

import pytest

from gradus.bench.ladder.requests import STOP, RequestMaker, find_words
from gradus.bench.workloads.base import WorkloadRequest
from gradus.bench.workloads.fixed import FixedWorkload
from gradus.errors import ConfigError
from gradus.text.tokenizer import Tokenizer


def test_a_prompts_text_is_read_as_its_tokens(ladder):
    for request in ladder.requests(1):
        token_ids = request.engine_request.prompt_token_ids
        assert len(token_ids) == ladder.workload.input_len
        assert ladder.runtime.tokenizer.encode(request.text, add_special_tokens=False) == token_ids


def test_prompts_are_distinct_and_a_round_can_be_repeated(ladder):
    prompts = [
        r.text for index in range(4) for r in RequestMaker(ladder.runtime, ladder.workload).requests(index)
    ]
    assert len(set(prompts)) == 4 * ladder.workload.num_requests
    assert [r.text for r in ladder.requests(2)] == [r.text for r in ladder.requests(2)]


def test_they_are_greedy_to_the_end_with_a_stop_string(ladder):
    (request, *_) = ladder.requests(1)
    params = request.engine_request.params
    assert (params.temperature, params.ignore_eos, params.stop) == (0.0, True, (STOP,))
    assert request.output_len == ladder.workload.output_len


def test_requests_that_wait_for_something_are_refused(ladder, monkeypatch):
    for late in (WorkloadRequest([1], 1, arrival=0.5), WorkloadRequest([1], 1, after=0)):
        workload = FixedWorkload(name="late", num_requests=1, concurrency=1, input_len=1, output_len=1)
        monkeypatch.setattr(FixedWorkload, "requests", lambda *_, late=late: [late])
        with pytest.raises(ConfigError, match="the requests of late arrive at times"):
            RequestMaker(ladder.runtime, workload).requests(1)


def test_a_tokenizer_without_words_is_refused():
    class Letters:
        """A vocabulary of three characters."""

        pieces = (b"a", b"b", b" ")
        size = 3
        special_ids = frozenset()

        def encode(self, text, add_special_tokens):
            return ["ab ".index(character) for character in text]

        def decode(self, token_ids):
            return "".join("ab "[token_id] for token_id in token_ids)

    with pytest.raises(ConfigError, match="no token that is a word"):
        find_words(Tokenizer(Letters), 3)
