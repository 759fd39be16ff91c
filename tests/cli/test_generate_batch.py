"""`gradus generate --input --output` as a user runs it: killed, resumed, with bad lines and bad flags."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.cli.harness import gradus

# The command, but from its 20th result on it takes its time, so that there is something left to interrupt.
SLOWED = """
import signal, sys, time
from gradus.cli.main import main
from gradus.server.batch.journal import Journal

append = Journal.append

def append_slowly(self, result):
    append(self, result)
    if self.num_done >= 20:
        time.sleep(1)

Journal.append = append_slowly
# Whoever runs the tests in the background may have Ctrl-C ignored; a terminal's children do not.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main())
"""


def write_input(path, num_lines, max_tokens):
    with path.open("w") as file:
        for i in range(num_lines):
            body = {"prompt": f"Line {i}", "max_tokens": max_tokens, "temperature": 0.9 if i % 2 else 0}
            line = {"custom_id": f"line-{i}", "method": "POST", "url": "/v1/completions", "body": body}
            file.write(json.dumps(line) + "\n")
        file.write("no JSON at all\n")
        line = {"custom_id": "bad-body", "method": "POST", "url": "/v1/completions", "body": {"prompt": 3}}
        file.write(json.dumps(line) + "\n")


def results(path):
    """What was answered, without what is drawn or depends on the cache; none may be there twice."""
    found = {}
    for raw in path.read_text().splitlines():
        result = json.loads(raw)
        key = result["custom_id"] or result["error"]["line"]
        assert key not in found
        response = result["response"]
        body = response and response["body"]
        found[key] = (response and response["status_code"], body and body.get("choices"), result["error"])
    return found


@pytest.fixture(scope="module")
def batch(tmp_path_factory, tiny_model_path):
    """A command line, but for the output, and what it gives when nothing interrupts it."""
    directory = tmp_path_factory.mktemp("batch")
    write_input(directory / "in.jsonl", 120, 250)
    command = ["generate", str(tiny_model_path), "--input", str(directory / "in.jsonl")]
    command += ["--seed", "5", "--max-num-seqs", "2", "--output"]
    whole = gradus(*command, directory / "whole.jsonl")
    assert whole.returncode == 3, whole.stderr
    assert "122 results" in whole.stderr
    assert "2 with an error" in whole.stderr
    return command, results(directory / "whole.jsonl")


def start_and_stop(command, output, signal_number):
    """Run until some results are there, send the signal, return exit code and standard error."""
    process = subprocess.Popen(
        [sys.executable, "-c", SLOWED, *command, str(output)],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 60
        while not (output.exists() and output.read_bytes().count(b"\n") >= 10):
            assert time.monotonic() < deadline
            assert process.poll() is None, "it ended before it could be stopped"
            time.sleep(0.005)
        process.send_signal(signal_number)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert output.read_bytes().count(b"\n") < 122
    return process.returncode, errors


def test_a_killed_run_goes_on_to_exactly_what_an_uninterrupted_one_gives(batch, tmp_path):
    command, expected = batch
    output = tmp_path / "out.jsonl"
    start_and_stop(command, output, signal.SIGKILL)
    with output.open("rb+") as file:  # and its last write was cut short
        file.seek(-7, os.SEEK_END)
        file.truncate()
    num_kept = output.read_bytes().count(b"\n")
    resumed = gradus(*command, output)
    assert resumed.returncode == 3, resumed.stderr
    assert f"has {num_kept} results; {122 - num_kept} lines are left" in resumed.stderr
    assert results(output) == expected
    before = output.read_bytes()
    again = gradus(*command, output)
    assert again.returncode == 3
    assert "nothing to do" in again.stderr
    assert output.read_bytes() == before


def test_an_interrupted_run_says_how_to_go_on(batch, tmp_path):
    command, expected = batch
    output = tmp_path / "out.jsonl"
    code, errors = start_and_stop(command, output, signal.SIGINT)
    assert code == 130
    assert "The same command goes on" in errors
    assert "Traceback" not in errors
    assert gradus(*command, output).returncode == 3
    assert results(output) == expected


def test_a_batch_without_errors_exits_with_0_and_the_served_name_is_what_lines_call_it(
    tmp_path, tiny_model_path
):
    body = {"model": "mine", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 3}
    line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}
    (tmp_path / "in.jsonl").write_text(json.dumps(line))
    flags = ["--input", tmp_path / "in.jsonl", "--output", tmp_path / "out.jsonl"]
    ran = gradus("generate", tiny_model_path, *flags, "--served-model-name", "mine")
    assert ran.returncode == 0, ran.stderr
    (result,) = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    assert result["response"]["body"]["object"] == "chat.completion"
    assert ran.stdout == ""


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (["--input", "IN"], "needs --output"),
        (["--output", "OUT"], "needs --input"),
        (["--input", "IN", "--output", "IN"], "the same file"),
        (["--input", "MISSING", "--output", "OUT"], "is no file"),
        (["--input", "IN", "--output", "OUT", "--prompt", "x"], "--prompt"),
        (["--input", "IN", "--output", "OUT", "--temperature", "1"], "--temperature does not go"),
        (["--input", "IN", "--output", "MISSING/out"], "choose another --output"),
        (["--prompt", "x", "--served-model-name", "y"], "--served-model-name"),
    ],
)
def test_flags_that_mean_nothing_together_are_refused(tmp_path, tiny_model_path, flags, word):
    (tmp_path / "IN").write_text("{}\n")
    refused = gradus("generate", tiny_model_path, *flags, cwd=tmp_path)
    assert refused.returncode == 2
    assert word in refused.stderr
    assert refused.stderr.count("\n") == 1
