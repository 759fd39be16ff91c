"""Completion scripts: made from the parsers, right for the shell, and they complete what the parsers know."""

import shutil
import subprocess

import pytest

from gradus.cli.completion import walk
from gradus.cli.main import COMMANDS, build_parser
from tests.cli.harness import gradus


@pytest.fixture(scope="module")
def bash_script():
    printed = gradus("completion", "bash")
    assert printed.returncode == 0, printed.stderr
    return printed.stdout


def complete(script, *words):
    """What bash offers for the last of the words."""
    quoted = " ".join(f"'{word}'" for word in words)
    test = (
        f'COMP_WORDS=(gradus {quoted}); COMP_CWORD={len(words)}; _gradus; printf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    command = ["bash", "-c", f"{script}\n{test}"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return ran.stdout.split()


def checkers() -> list[tuple[str, str]]:
    """Shells, and the one here that can read their script: zsh's functions are bash's too."""
    pairs = [("bash", "bash"), ("zsh", "zsh" if shutil.which("zsh") else "bash"), ("fish", "fish")]
    return [pair for pair in pairs if shutil.which(pair[1])]


@pytest.mark.parametrize(("shell", "checker"), checkers())
def test_a_shell_that_is_here_can_read_its_script(shell, checker, tmp_path):
    script = gradus("completion", shell).stdout
    assert "gradus" in script
    (tmp_path / "script").write_text(script)
    checked = subprocess.run(
        [checker, "-n", tmp_path / "script"], capture_output=True, text=True, timeout=60, check=False
    )
    assert checked.returncode == 0, checked.stderr


def test_bash_completes_commands_flags_and_values(bash_script):
    assert set(COMMANDS) <= set(complete(bash_script, ""))
    assert complete(bash_script, "be") == ["bench"]
    assert "decode" in complete(bash_script, "bench", "")
    assert complete(bash_script, "bench", "decode", "demo", "--prompt-t") == ["--prompt-tokens"]
    assert complete(bash_script, "generate", "--kv-layout", "") == ["paged", "contiguous"]
    assert complete(bash_script, "serve", "demo", "--po") == ["--port"]
    assert complete(bash_script, "completion", "f") == ["fish"]
    assert complete(bash_script, "generate", "--input", "") == []  # bash's own file names then


def test_every_flag_of_every_command_is_in_every_script(bash_script):
    fish_script = gradus("completion", "fish").stdout
    commands = list(walk(build_parser(*COMMANDS), ()))
    assert {command.path[0] for command in commands if command.path} == set(COMMANDS)
    for command in commands:
        assert command.flags
        for flag in command.flags:
            assert flag in complete(bash_script, *command.path, flag)
            assert f" {flag.lstrip('-')} " in fish_script


def test_a_quote_in_a_help_text_does_not_end_the_string():
    for line in gradus("completion", "fish").stdout.splitlines():
        assert line.replace("\\\\", "").replace("\\'", "").count("'") % 2 == 0
