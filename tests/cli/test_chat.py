"""`gradus chat`: its commands through a pipe, its colours through a pseudo-terminal, its parts alone."""

import json
import os
import pty
import subprocess
import sys
import time

import pytest

from gradus.cli.chat_input import UnclosedBlockError, read_message
from gradus.cli.conversation import Conversation, ConversationError, load
from tests.cli.harness import gradus


def chat(model, *lines, flags=("--max-tokens", "8"), **options):
    return gradus("chat", model, *flags, stdin="\n".join(lines), **options)


def answers(printed):
    return [line for line in printed.stderr.splitlines() if "tokens/s" in line]


def test_chat_keeps_a_conversation_and_its_commands_work(tiny_model_path):
    lines = [
        "Hello",
        "Hello",
        "/reset",
        "Hello",
        "/system Be brief.",
        "/system",
        "/nonsense",
        "/help",
        "/quit",
    ]
    printed = chat(tiny_model_path, *lines)
    assert printed.returncode == 0, printed.stderr
    assert len(answers(printed)) == 3
    for reply in ("forgotten", "prompt is set", "prompt is removed", "There is no /nonsense", "/system TEXT"):
        assert reply in printed.stdout
    assert "\x1b" not in printed.stdout + printed.stderr


def test_a_conversation_that_outgrows_the_context_can_be_reset(tiny_model_path):
    flags = ["--max-model-len", "64", "--max-tokens", "8"]
    printed = chat(tiny_model_path, "x" * 200, "Hello", flags=flags)
    assert printed.returncode == 0
    assert "/reset" in printed.stdout
    assert len(answers(printed)) == 1  # the second line was answered: the first left no trace


def test_a_saved_conversation_goes_on_where_it_was(tiny_model_path, tmp_path):
    first = ["/system Be brief.", "Hello", "/save one.json"]
    printed = chat(tiny_model_path, *first, "And now?", "/save all.json", cwd=tmp_path)
    assert "3 messages are in one.json" in printed.stdout, printed.stderr
    chat(tiny_model_path, "/load one.json", "And now?", "/save again.json", cwd=tmp_path)
    saved = json.loads((tmp_path / "all.json").read_text())
    assert [message["role"] for message in saved] == ["system", "user", "assistant", "user", "assistant"]
    assert json.loads((tmp_path / "again.json").read_text()) == saved
    chat(tiny_model_path, "/load all.json", "/undo", "/save undone.json", cwd=tmp_path)
    assert json.loads((tmp_path / "undone.json").read_text()) == saved[:3]


def test_files_that_cannot_be_used_change_nothing(tiny_model_path, tmp_path):
    (tmp_path / "notes").write_text("my notes")
    lines = [
        "Hello",
        "/load missing",
        "/load notes",
        "/save notes",
        "/save",
        "/load",
        "/save a/b",
        "/save ok",
    ]
    printed = chat(tiny_model_path, *lines, cwd=tmp_path)
    assert printed.returncode == 0, printed.stderr
    words = (
        "missing cannot be read",
        "not JSON",
        "no conversation",
        "/save needs",
        "/load needs",
        "cannot be",
    )
    for word in words:
        assert word in printed.stdout
    assert (tmp_path / "notes").read_text() == "my notes"
    assert len(json.loads((tmp_path / "ok").read_text())) == 2


def test_stats_count_tokens_and_what_was_cached(tiny_model_path):
    question = "a question that is long enough to fill some blocks of the cache, so that they are found again"
    printed = chat(tiny_model_path, "/stats", question, "And now?", "/stats", flags=["--max-tokens", "20"])
    assert "Nothing was answered yet" in printed.stdout
    last, total = (line for line in printed.stdout.splitlines() if "prompt tokens" in line)
    assert last.startswith("last answer: ")
    assert total.startswith("all 2: ")
    assert "(0 cached)" not in last  # the first question's blocks
    assert "first after" in last
    assert "tokens/s" in last


def test_blocks_and_continued_lines_are_one_message(tiny_model_path, tmp_path):
    lines = ["one \\", "two", '"""', "/reset", "", "three", '"""', "/save all.json"]
    printed = chat(tiny_model_path, *lines, cwd=tmp_path)
    assert len(answers(printed)) == 2
    saved = json.loads((tmp_path / "all.json").read_text())
    assert [m["content"] for m in saved if m["role"] == "user"] == ["one \ntwo", "/reset\n\nthree"]


@pytest.mark.parametrize(
    ("lines", "message", "may_be_command"),
    [
        (["  hello  "], "hello", True),
        (["/reset"], "/reset", True),
        (["/reset\\", "x"], "/reset\nx", False),
        (["a\\", "b\\", "c"], "a\nb\nc", False),
        (["a\\"], "a", False),
        (['"""a"""'], "a", False),
        (['"""', "  a", "b", '"""'], "  a\nb", False),
        (['""" a', 'b""" '], " a\nb", False),
        (['"""', "a\\", '"""'], "a\\", False),
    ],
)
def test_how_lines_become_messages(lines, message, may_be_command):
    assert read_message(reader(lines)) == (message, may_be_command)


def reader(lines):
    rest = iter(lines)

    def read_line(_):
        for line in rest:
            return line
        raise EOFError

    return read_line


def test_the_end_of_the_input():
    with pytest.raises(EOFError):
        read_message(reader([]))
    with pytest.raises(UnclosedBlockError):
        read_message(reader(['"""', "a"]))


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("{", "not JSON"),
        ('{"messages": []}', "no list"),
        ('[{"role": "user"}]', "message 0"),
        ('[{"role": "user", "content": "x", "name": "y"}]', "just role and content"),
        ('[{"role": "user", "content": "x"}, {"role": "system", "content": "y"}]', "'system'"),
        ('[{"role": ["user"], "content": "x"}]', "role"),
        ('[{"role": "user", "content": ["x"]}]', "no text"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_what_is_no_conversation_is_refused_by_name(tmp_path, content, word):
    (tmp_path / "file").write_text(content)
    with pytest.raises(ConversationError, match=word):
        load(tmp_path / "file")


def test_undo_takes_the_last_question_and_all_after_it():
    conversation = Conversation("s").with_question("a").with_answer("b").with_question("c")
    assert (
        conversation.without_last_turn().messages
        == Conversation("s").with_question("a").with_answer("b").messages
    )
    assert Conversation("s").without_last_turn().turns == []


def in_a_terminal(model, **environment):
    """What `gradus chat` writes to a terminal in which somebody says hello and leaves."""
    terminal, end = pty.openpty()
    command = [sys.executable, "-m", "gradus", "chat", str(model), "--max-tokens", "4"]
    settings = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "TERM")} | environment
    process = subprocess.Popen(command, stdin=end, stdout=end, stderr=end, env=settings)
    os.close(end)
    os.write(terminal, b"Hello\n/quit\n")
    written = b""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # its other end is closed
            break
        if not part:
            break
        written += part
    assert process.wait(30) == 0
    os.close(terminal)
    return written


def test_colours_are_for_terminals_that_have_them(tiny_model_path):
    assert b"\x1b[2m(" in in_a_terminal(tiny_model_path, TERM="xterm-256color")
    for environment in ({"TERM": "dumb"}, {"TERM": "xterm-256color", "NO_COLOR": "1"}, {}):
        plain = in_a_terminal(tiny_model_path, **environment)
        assert b"tokens/s" in plain
        assert b"\x1b[2m" not in plain
        assert b"\x1b[36m" not in plain
