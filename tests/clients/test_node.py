"""OpenAI's Node client against a server: streaming, tools, `/v1/responses`, typed errors.

The client comes from npm, once, into pytest's cache. Without node and npm these tests fail rather than say
nothing; `-m "not node"` leaves them out on purpose.
"""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.server.chat_templates import HERMES, tokenizer_for
from tests.server.harness import MODEL, say, serving

pytestmark = pytest.mark.node

HERE = Path(__file__).parent / "node"
PACKAGE = json.loads((HERE / "package.json").read_text())
ARGUMENTS = '{"city": "Zürich 🌧 \\"old town\\"", "days": 3}'
TEXT = (
    f'I look. <tool_call>\n{{"name": "weather", "arguments": {ARGUMENTS}}}\n</tool_call>\n'
    '<tool_call>\n{"name": "clock", "arguments": {}}\n</tool_call>'
)
CALLS = [{"name": "weather", "arguments": ARGUMENTS}, {"name": "clock", "arguments": "{}"}]


@pytest.fixture(scope="session")
def node_folder(pytestconfig):
    """A folder with the client installed and the script beside it."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.fail(
                f'{program} is not installed; install Node 20 or newer, or leave these out: -m "not node"'
            )
    folder = pytestconfig.cache.mkdir(f"node-openai-{PACKAGE['dependencies']['openai']}")
    for name in ("package.json", "client.mjs"):
        shutil.copy(HERE / name, folder)
    if not (folder / "node_modules" / "openai" / "package.json").exists():
        command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, f"npm could not install the client: {done.stderr}"
    return folder


@pytest.fixture(scope="session")
def report(node_folder):
    """What the script found, and how the server was left."""
    with serving(say(TEXT), tokenizer=tokenizer_for(HERMES), delay=0.0005) as server:
        command = ["node", "client.mjs", f"{server.url}/v1"]
        done = subprocess.run(
            command, cwd=node_folder, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        server.wait_until_idle()  # the abandoned stream's request has been ended
        yield json.loads(done.stdout)


def test_a_stream_adds_up_to_the_whole(report):
    whole, streamed = report["chatInOnePiece"], report["chatStreamed"]
    assert whole["content"] == streamed["content"] == TEXT
    assert whole["finishReason"] == "stop"
    assert streamed["numChunks"] > 10
    assert streamed["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"]


def test_streamed_calls_add_up(report):
    found = report["toolsStreamed"]
    assert found["content"] == "I look. "
    assert found["calls"] == CALLS
    assert [{name: call[name] for name in ("name", "arguments")} for call in found["finalCalls"]] == CALLS
    assert found["finishReason"] == "tool_calls"


def test_a_response_is_streamed(report):
    found = report["responseStreamed"]
    assert (found["first"], found["last"]) == ("response.created", "response.completed")
    assert found["text"] == found["finalText"] == "I look. "
    assert found["calls"] == CALLS


def test_errors_are_typed(report):
    assert report["errors"] == {"model": [True, "model_not_found"], "store": [True, "store"]}


def test_the_model_is_listed(report):
    assert report["models"] == [MODEL]
    assert report["abandonedStream"] is True
