"""What the README and some pages tell a user to do works as it stands there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = README + "".join(
    (ROOT / "docs" / f"{name}.md").read_text() for name in ("sampling", "responses", "anthropic")
)
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGES, flags=re.DOTALL)
OFFLINE = [code for language, code in BLOCKS if language == "python" and "from gradus import" in code]
ONLINE = [code for language, code in BLOCKS if "127.0.0.1:8000" in code and language in ("python", "sh")]


@pytest.fixture(scope="module")
def url():
    """A server as `make serve` starts it, but on a free port."""
    command = [sys.executable, "-m", "gradus", "serve", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        found = re.search(r"http://(\S+)/v1", process.stdout.readline())
        assert found
        yield found.group(1)
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.mark.parametrize("code", OFFLINE)
def test_the_offline_example_runs(code):
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip()


@pytest.mark.parametrize("code", ONLINE)
def test_the_examples_against_a_server_run(code, url):
    code = code.replace("127.0.0.1:8000", url)
    command = [sys.executable, "-c", code] if "import" in code else ["bash", "-c", code]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip()
    assert '"error"' not in ran.stdout


@pytest.mark.parametrize("line", re.findall(r"^gradus (?:generate|chat) [^#\n]+", README, flags=re.MULTILINE))
def test_the_commands_run(line):
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    ran = subprocess.run(
        ["bash", "-c", line],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
        env=environment,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip()


def test_there_is_something_to_try():
    assert OFFLINE
    assert len(ONLINE) >= 2


def test_links_lead_to_files_that_exist():
    for document in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"
