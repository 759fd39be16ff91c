"""A child process: its answers, its sleep, its variables and its last words."""

import subprocess
import sys
from pathlib import Path

import pytest

import gradus
from gradus.bench.child_process import ChildProcess, PeerError, own_command

ECHO = """
import json, os, sys
for line in sys.stdin:
    command = json.loads(line)
    if command["say"] == "die":
        sys.exit("out of luck")
    answer = {"error": "a reason"} if command["say"] == "fail" else {"said": os.environ["SAY"]}
    print(json.dumps(answer), flush=True)
"""


@pytest.fixture
def child():
    process = ChildProcess([sys.executable, "-c", ECHO], has_pipes=True, environment={"SAY": "hello"})
    yield process
    process.close()


def state(process):
    """T is stopped. Source: proc(5)."""
    return Path(f"/proc/{process.popen.pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_child_answers_has_its_variables_and_sleeps_between_turns(child):
    assert child.ask({"say": "x"}) == {"said": "hello"}
    child.stop()
    assert state(child) == "T"
    with child.awake():
        assert child.ask({"say": "x"}) == {"said": "hello"}
    assert state(child) == "T"
    assert child.peak_memory() > 1 << 20


def test_a_failure_is_told_and_a_death_has_its_last_words(child):
    with pytest.raises(PeerError, match="a reason"):
        child.ask({"say": "fail"})
    with pytest.raises(PeerError, match="ended with 1: out of luck"):
        child.ask({"say": "die"})


def test_our_own_modules_are_of_this_installation_wherever_it_is_started(tmp_path):
    other = tmp_path / "gradus"
    other.mkdir()
    (other / "__init__.py").write_text("raise RuntimeError('another checkout')")
    command = own_command("gradus", "--version")
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert gradus.__version__ in found.stdout
