"""What can be asked of a server, and what cannot."""

import pytest

from gradus.bench.serve.options import ServeOptions
from gradus.bench.workloads.registry import WORKLOADS
from gradus.errors import ConfigError

REFERENCE = WORKLOADS["reference"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"num_runs": 0}, "num_runs is 0"),
        ({"num_warmups": -1}, "num_warmups is -1"),
        ({"percentiles": (101,)}, "from 0 to 100"),
        ({"endpoint": "/v1/embeddings"}, "/v1/completions"),
    ],
)
def test_what_cannot_work_is_refused_with_what_would(values, said):
    with pytest.raises(ConfigError, match=said):
        ServeOptions(workload=REFERENCE, **values)


@pytest.mark.parametrize(
    ("values", "sends_ids"),
    [({}, True), ({"sends_text": True}, False), ({"endpoint": "/v1/chat/completions"}, False)],
)
def test_chats_are_text(values, sends_ids):
    assert ServeOptions(workload=REFERENCE, **values).sends_token_ids is sends_ids


def test_runs_and_seeds_have_other_prompts_and_the_same_ones_again():
    def prompts(seed, run):
        options = ServeOptions(workload=REFERENCE, seed=seed)
        return [tuple(request.prompt) for request in options.requests(1000, run)]

    assert prompts(0, 1) == prompts(0, 1)
    assert len({tuple(prompts(seed, 1)) for seed in (0, 100)} | {tuple(prompts(0, 2))}) == 3
