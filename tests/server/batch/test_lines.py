"""Lines of a batch file: what is a request, what is not, and that no line can stop the reading."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradus.errors import ConfigError
from gradus.server.batch import lines
from gradus.server.batch.lines import BadLine, BatchRequest, answer_line, read_lines


def line(custom_id="a", **changes) -> bytes:
    fields = {"custom_id": custom_id, "method": "POST", "url": "/v1/completions", "body": {"prompt": "x"}}
    return json.dumps(fields | changes).encode()


def read(tmp_path, *raw: bytes) -> list[BatchRequest | BadLine]:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"\n".join(raw))
    return list(read_lines(path))


def test_requests_are_read_with_their_line_numbers_and_blank_lines_are_skipped(tmp_path):
    first, second = read(tmp_path, b"\xef\xbb\xbf" + line("a"), b"", b"  ", line("b") + b"\r", b"")
    assert first == BatchRequest(
        number=1, custom_id="a", url="/v1/completions", body={"prompt": "x"}, num_bytes=len(line("a")) + 1
    )
    assert (second.number, second.custom_id) == (4, "b")


@pytest.mark.parametrize(
    ("raw", "custom_id", "code", "word"),
    [
        (b"{", None, "invalid_json", "JSON"),
        (b"[1]", None, "invalid_json", "object"),
        (b'{"a": NaN}', None, "invalid_json", "NaN"),
        (b"\xff\xfe", None, "invalid_json", "UTF-8"),
        (b"[" * 100_000, None, "invalid_json", "nested"),
        (line(None), None, "invalid_value", "custom_id is missing"),
        (line(7), None, "invalid_value", "custom_id is 7"),
        (line("x" * 600), None, "invalid_value", "512"),
        (line(method="GET"), "a", "invalid_value", "method is 'GET'"),
        (line(url="/v1/embeddings"), "a", "invalid_value", "/v1/chat/completions"),
        (line(url=["/v1/completions"]), "a", "invalid_value", "url is"),
        (line(body=None), "a", "invalid_value", "body is missing"),
        (line(extra=1), "a", "unknown_parameter", "'extra' is no field"),
    ],
)
def test_a_bad_line_says_what_is_wrong_and_the_next_is_read(tmp_path, raw, custom_id, code, word):
    bad, good = read(tmp_path, raw, line("good"))
    assert isinstance(bad, BadLine)
    assert (bad.number, bad.custom_id, bad.code) == (1, custom_id, code)
    assert word in bad.message
    assert good.custom_id == "good"


def test_of_lines_with_one_id_the_first_is_the_request(tmp_path):
    first, other, again = read(tmp_path, line("a"), line("b"), line("a"))
    assert isinstance(first, BatchRequest)
    assert isinstance(other, BatchRequest)
    assert (again.code, again.number) == ("duplicate_custom_id", 3)
    assert "line 1" in again.message


def test_a_line_that_is_too_long_is_refused_without_being_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 300)
    long, exact = read(tmp_path, line("long", body={"prompt": "x" * 5000}), line("short"))
    assert (long.code, long.number) == ("request_too_large", 1)
    assert exact.custom_id == "short"


def test_a_file_that_is_not_there_is_a_configuration_error(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        list(read_lines(tmp_path / "missing.jsonl"))


@settings(max_examples=50)
@given(st.lists(st.one_of(st.binary(max_size=40), st.just(line("q")))))
def test_any_bytes_give_one_item_per_line_that_is_not_blank(tmp_path_factory, raw):
    path = tmp_path_factory.mktemp("any") / "in.jsonl"
    path.write_bytes(b"\n".join(raw))
    expected = [number for number, text in enumerate(path.read_bytes().split(b"\n"), start=1) if text.strip()]
    found = [item.number for item in read_lines(path)]
    assert found == expected or path.read_bytes().startswith(b"\xef\xbb\xbf")


def test_a_result_is_one_line_to_every_reader():
    text = "".join(map(chr, range(0x2100)))
    result = answer_line("a", 200, {"text": text})
    assert len(result.decode().splitlines()) == 1
    assert json.loads(result)["response"]["body"]["text"] == text
