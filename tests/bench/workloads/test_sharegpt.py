"""Conversations from a file, and lengths as they are published."""

import json

import pytest

from gradus.bench.workloads.registry import find_workload
from gradus.bench.workloads.sharegpt import ShareGptFile
from gradus.errors import ConfigError


def encode(text):
    """A word is a token."""
    return [len(word) for word in text.split()]


def entry(num_in, num_out):
    values = [" ".join(["word"] * count) for count in (num_in, num_out)]
    messages = [{"from": who, "value": value} for who, value in zip(("human", "gpt"), values, strict=True)]
    return {"id": f"{num_in}-{num_out}", "conversations": messages}


def write(path, entries):
    path.write_text(json.dumps(entries), encoding="utf-8")
    return str(path)


def from_file(path, num_requests, **values):
    return ShareGptFile(name="sharegpt", concurrency=None, path=path, num_requests=num_requests, **values)


def test_a_conversation_is_its_first_message_and_the_length_of_the_reply(tmp_path):
    usable = [(5, 6), (1024, 4), (1000, 1048), (4, 2044)]
    unusable = [(3, 10), (10, 3), (1025, 10), (1000, 1049)]
    entries = [entry(*lengths) for lengths in usable + unusable] + [{"conversations": []}]
    workload = from_file(write(tmp_path / "all.json", entries), 4).with_tokenizer(encode)
    requests = workload.requests(10, 0)
    assert sorted((len(request.prompt), request.output_len) for request in requests) == sorted(usable)
    assert set(requests[0].prompt) == {4}
    assert workload.max_context == 2048
    assert workload.requests(10, 1) == requests
    assert workload.as_dict()["output_lens"] == [request.output_len for request in requests]


def test_the_seed_chooses(tmp_path):
    path = write(tmp_path / "all.json", [entry(5 + index, 9) for index in range(40)])

    def chosen(seed):
        requests = from_file(path, 5, seed=seed).with_tokenizer(encode).requests(10, 0)
        return [len(request.prompt) for request in requests]

    assert chosen(0) == chosen(0) != chosen(1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[", "cannot be read"),
        ("{}", "a JSON list"),
        ('[{"text": 1}]', "entry 0 must have conversations"),
        ('[{"conversations": [{"value": 1}, {"value": "x"}]}]', "not text"),
        ("[]", "num_requests is 2, but .* has 0 conversations"),
    ],
)
def test_a_file_of_another_format_is_refused(tmp_path, text, said):
    path = tmp_path / "file.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        from_file(str(path), 2).with_tokenizer(encode)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        from_file(str(tmp_path / "none.json"), 2).with_tokenizer(encode)


def test_without_a_file_the_sample_is_generated_and_says_so():
    assert find_workload("sharegpt").name == "sharegpt-generated"
    assert find_workload("sharegpt", "some.json") == from_file("some.json", 40)
    with pytest.raises(ConfigError, match="only sharegpt has"):
        find_workload("reference", "some.json")


@pytest.mark.parametrize("num_requests", [40, 400])
def test_generated_lengths_have_the_published_means(num_requests):
    workload = find_workload("sharegpt-generated").changed(num_requests=num_requests)
    requests = workload.requests(1000, 0)
    inputs = [len(request.prompt) for request in requests]
    outputs = [request.output_len for request in requests]
    assert sum(inputs) / len(inputs) == pytest.approx(161.31, rel=0.02)
    assert sum(outputs) / len(outputs) == pytest.approx(337.99, rel=0.02)
    assert max(request.context for request in requests) <= workload.max_context
    assert min(inputs + outputs) >= 1
    assert sorted(inputs)[len(inputs) // 2] < 161  # a long tail, as in the source's figure
    again = workload.requests(1000, 1)
    assert [len(request.prompt) for request in again] == inputs
    assert [request.prompt for request in again] != [request.prompt for request in requests]
