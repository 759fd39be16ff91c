"""The output file as the record of what is done: after a kill at any byte, and when it is somebody else's."""

import errno
import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradus.errors import ConfigError
from gradus.server.batch.journal import Journal, JournalError
from gradus.server.batch.lines import BadLine, BatchRequest, answer_line, error_line

REQUESTS = [
    BatchRequest(number=i, custom_id=f"id {i} 你好", url="/v1/completions", body={}, num_bytes=1)
    for i in range(4)
]
BAD = BadLine(number=9, custom_id=None, code="invalid_json", message="no JSON")
RESULTS = [
    answer_line(REQUESTS[0].custom_id, 200, {"text": "a\nb 你好"}),
    answer_line(REQUESTS[1].custom_id, 400, {"error": {"message": "no"}}),
    error_line(BAD),
    answer_line(REQUESTS[2].custom_id, 200, {"text": "c"}),
]


@settings(max_examples=60)
@given(cut=st.integers(0, sum(map(len, RESULTS))))
def test_after_a_kill_at_any_byte_the_complete_results_are_known_and_the_rest_is_gone(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("cut") / "out.jsonl"
    path.write_bytes(b"".join(RESULTS)[:cut])
    num_complete = b"".join(RESULTS)[:cut].count(b"\n")
    journal = Journal(path)
    assert path.read_bytes() == b"".join(RESULTS[:num_complete])
    done = [journal.has(item) for item in (REQUESTS[0], REQUESTS[1], BAD, REQUESTS[2])]
    assert done == [i < num_complete for i in range(4)]
    assert journal.num_done == num_complete
    for result in RESULTS[num_complete:]:
        journal.append(result)
    journal.close()
    assert path.read_bytes() == b"".join(RESULTS)
    assert (journal.num_answered, journal.num_failed) == (2, 2)
    assert not journal.has(REQUESTS[3])


@pytest.mark.parametrize(
    "content",
    [
        "My notes, without a line's end",
        "My notes\n",
        '{"custom_id": "a", "method": "POST", "url": "/v1/completions", "body": {}}\n',
        '{"custom_id": "a", "method": "POST"}',
        RESULTS[0].decode() + "[]\n",
        json.dumps({"custom_id": 7, "response": {"status_code": 200}}) + "\n",
        "[" * 100_000 + "\n",
    ],
)
def test_a_file_that_holds_something_else_is_left_alone(tmp_path, content):
    path = tmp_path / "notes"
    path.write_text(content)
    with pytest.raises(ConfigError, match="no result of a batch"):
        Journal(path)
    assert path.read_text() == content


def test_two_runs_cannot_write_one_file(tmp_path):
    first = Journal(tmp_path / "out.jsonl")
    with pytest.raises(ConfigError, match="another run"):
        Journal(tmp_path / "out.jsonl")
    first.close()
    Journal(tmp_path / "out.jsonl").close()


def test_a_full_disk_is_said_and_leaves_at_most_a_torn_line(tmp_path, monkeypatch):
    path = tmp_path / "out.jsonl"
    journal = Journal(path)
    journal.append(RESULTS[0])
    real_write = os.write

    def write(file, data, room=[20]):  # noqa: B006 - what is left, over the calls
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        part, room[0] = data[: room[0]], 0
        return real_write(file, part)

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(JournalError, match="No space left"):
        journal.append(RESULTS[1])
    monkeypatch.undo()
    journal.close()
    assert len(path.read_bytes()) == len(RESULTS[0]) + 20
    again = Journal(path)
    assert again.num_done == 1
    assert path.read_bytes() == RESULTS[0]
    again.close()


def test_a_place_that_cannot_be_written_is_a_configuration_error(tmp_path):
    with pytest.raises(ConfigError, match="choose another --output"):
        Journal(tmp_path / "no such directory" / "out.jsonl")
    for device in ("/dev/null", "/dev/full"):
        with pytest.raises(ConfigError, match="no ordinary file"):
            Journal(Path(device))
