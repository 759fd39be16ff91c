"""What docs/cli.md says about the command line: its examples run, and nothing is left out."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gradus.cli import exit_codes
from gradus.cli.main import COMMANDS

PAGE = (Path(__file__).parent.parent / "docs" / "cli.md").read_text()
EXAMPLES = re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL)


def run(script, directory):
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = ["bash", "-euo", "pipefail", "-c", script]
    return subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.parametrize("script", EXAMPLES)
def test_the_example_runs(script, tmp_path):
    ran = run(script, tmp_path)
    assert ran.returncode == 0, ran.stderr
    if "--input" in script:
        results = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
        assert {result["custom_id"] for result in results} == {"a", "b"}
        assert "42" in next(json.dumps(result) for result in results if result["custom_id"] == "a")
    elif "eval" not in script:
        assert ran.stdout.strip()


def test_every_command_has_a_section_and_an_example():
    for command in COMMANDS:
        assert f"\n## gradus {command}\n" in PAGE
        assert any(f"gradus {command}" in script for script in EXAMPLES) or command == "serve"


def test_every_exit_code_is_listed():
    codes = {value for name, value in vars(exit_codes).items() if name.isupper()}
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, flags=re.MULTILINE)} == codes


def test_the_result_on_the_page_has_the_fields_of_a_result():
    from gradus.server.batch.lines import answer_line

    shown = next(
        json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL) if "batch_" in text
    )
    real = json.loads(answer_line("a", 200, {}))
    assert list(shown) == list(real)
    assert list(shown["response"]) == list(real["response"])
