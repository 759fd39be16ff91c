"""`curl`, as people use it in a shell: every generating route, streamed and whole, and exit codes."""

import json
import subprocess

import pytest

CHAT = "/v1/chat/completions"
USER = [{"role": "user", "content": "Hi"}]
# route, body, where the text is in a whole answer, where in an event
ROUTES = {
    CHAT: ({"messages": USER}, lambda a: a["choices"][0]["message"]["content"], "content"),
    "/v1/completions": ({"prompt": "Hi", "max_tokens": 200}, lambda a: a["choices"][0]["text"], "text"),
    "/v1/responses": ({"input": "Hi"}, lambda a: a["output"][0]["content"][0]["text"], "delta"),
    "/v1/messages": ({"messages": USER, "max_tokens": 200}, lambda a: a["content"][0]["text"], "text"),
}


def curl(url, body, *options):
    command = [
        "curl",
        "-sS",
        "-N",
        url,
        "-H",
        "Content-Type: application/json",
        "-d",
        json.dumps(body),
        *options,
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def text_of(event, name):
    """The text that an event adds, in any dialect."""
    if name == "delta":
        return event["delta"] if event["type"] == "response.output_text.delta" else ""
    if "choices" in event:
        choice = event["choices"][0]
        return choice.get("delta", choice).get(name, "")
    return event["delta"]["text"] if event["type"] == "content_block_delta" else ""


@pytest.mark.parametrize("route", ROUTES)
def test_an_answer_and_its_stream(server, answer, route):
    body, whole_text, name = ROUTES[route]
    assert whole_text(json.loads(curl(server.url + route, body).stdout)) == answer
    streamed = curl(server.url + route, {**body, "stream": True}).stdout
    data = [line.removeprefix("data: ") for line in streamed.splitlines() if line.startswith("data: {")]
    assert "".join(text_of(json.loads(line), name) for line in data) == answer


def test_a_refusal_is_told_by_status_and_exit_code(server):
    refused = curl(server.url + CHAT, {"messages": []}, "-w", "%{http_code}")
    assert refused.stdout.endswith("400")
    assert curl(server.url + CHAT, {"messages": []}, "--fail").returncode == 22


def test_an_interrupted_curl_ends_its_request(endless):
    command = ["curl", "-sSN", endless.url + CHAT, "-H", "Content-Type: application/json"]
    body = json.dumps({"messages": USER, "stream": True})
    with subprocess.Popen([*command, "-d", body], stdout=subprocess.PIPE) as running:
        assert running.stdout.readline().startswith(b"data: ")
        running.terminate()
    endless.wait_until_idle()
