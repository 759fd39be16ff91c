"""Batches over the real engine and a scripted backend: what HTTP answers, a batch answers."""

import asyncio
import json
import logging

import pytest

from gradus.errors import EngineDeadError
from gradus.server.batch.journal import Journal
from gradus.server.batch.lines import BatchRequest, read_lines
from gradus.server.batch.runner import BatchRunner
from tests.server.conftest import ANSWER
from tests.server.harness import say, toy_service

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
HELLO = [{"role": "user", "content": "Hello"}]

BODIES = [
    (COMPLETIONS, {"model": "toy", "prompt": "Hello", "max_tokens": 40}),
    (COMPLETIONS, {"prompt": ["Hello", "there"], "n": 2, "max_tokens": 5, "logprobs": 2}),
    (CHAT, {"messages": HELLO, "max_tokens": 30, "logprobs": True, "top_logprobs": 1, "stop": "42"}),
    (COMPLETIONS, {"prompt": "Hello", "max_tokens": -1}),
    (COMPLETIONS, {"prompt": "Hello", "frobnicate": True}),
    (COMPLETIONS, {"max_tokens": 3}),
    (COMPLETIONS, {"prompt": "x" * 3000}),
    (CHAT, {"messages": [], "max_tokens": 3}),
    (CHAT, {"model": "gpt-4o", "messages": HELLO}),
    (CHAT, {"messages": HELLO, "max_completion_tokens": 10**6}),
]


def without_ids(body):
    """An answer without what is drawn or timed."""
    body = {name: value for name, value in body.items() if name not in ("id", "created")}
    if "usage" in body:
        body["usage"] = {k: v for k, v in body["usage"].items() if k != "prompt_tokens_details"}
    return body


def run_batch(tmp_path, items, service=None, **options):
    """Results by custom id."""
    path, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    path.write_text(
        "".join(
            json.dumps({"custom_id": str(i), "method": "POST", "url": url, "body": body}) + "\n"
            for i, (url, body) in enumerate(items)
        )
    )
    service = service or toy_service(say(ANSWER))
    journal = Journal(output)

    async def run():
        try:
            await BatchRunner(service, journal, max_in_flight=4, **options).run(read_lines(path))
        finally:
            await service.engine.shutdown()

    try:
        asyncio.run(run())
    finally:
        journal.close()
    return {result["custom_id"]: result for result in map(json.loads, output.read_text().splitlines())}


def test_a_batch_answers_what_the_server_answers(tmp_path, server):
    results = run_batch(tmp_path, BODIES)
    for i, (url, body) in enumerate(BODIES):
        response = server.post(url, body)
        result = results[str(i)]["response"]
        assert result["status_code"] == response.status_code
        assert without_ids(result["body"]) == without_ids(response.json())
        assert results[str(i)]["error"] is None
    assert [results[str(i)]["response"]["status_code"] for i in range(10)] == [200] * 3 + [400] * 5 + [
        404,
        400,
    ]


def test_a_stream_is_refused(tmp_path):
    results = run_batch(tmp_path, [(COMPLETIONS, {"prompt": "x", "stream": True})])
    assert results["0"]["response"]["status_code"] == 400
    assert results["0"]["response"]["body"]["error"]["param"] == "stream"


def test_a_step_that_fails_is_the_error_of_its_lines_alone(tmp_path):
    service = toy_service(say(ANSWER))

    def fail_on_x(tokenizer, context, choice, normal=service.backend.next_token):
        return normal(context, choice)

    service.backend.fail = True
    results = run_batch(tmp_path, [(COMPLETIONS, {"prompt": "x"})] * 3, service)
    assert [results[str(i)]["response"]["status_code"] for i in range(3)] == [500] * 3
    assert "this step fails" in results["0"]["response"]["body"]["error"]["message"]


def test_a_defect_in_one_line_is_said_and_stops_no_other(tmp_path, monkeypatch, caplog):
    service = toy_service(say(ANSWER))
    normal = service.inputs.process

    def process(request_id, prompt, *rest, **options):
        if prompt == "boom":
            raise ZeroDivisionError("a defect")
        return normal(request_id, prompt, *rest, **options)

    monkeypatch.setattr(service.inputs, "process", process)
    items = [(COMPLETIONS, {"prompt": text, "max_tokens": 2}) for text in ("a", "boom", "b")]
    with caplog.at_level(logging.ERROR, "gradus.batch"):
        results = run_batch(tmp_path, items, service)
    assert [results[str(i)]["response"]["status_code"] for i in range(3)] == [200, 500, 200]
    assert "line 2 failed: ZeroDivisionError" in caplog.text


def test_a_dead_engine_ends_the_run_and_leaves_the_lines_undone(tmp_path):
    service = toy_service(say(ANSWER))
    asyncio.run(service.engine.shutdown())
    with pytest.raises(EngineDeadError):
        run_batch(tmp_path, [(COMPLETIONS, {"prompt": "x"})] * 3, service)
    assert (tmp_path / "out.jsonl").read_text() == ""


def test_a_lines_seed_follows_from_the_runs_seed_and_the_lines_id_unless_it_has_one():
    def seed(custom_id, run_seed, **body):
        runner = BatchRunner(toy_service(say("x")), None, max_in_flight=1, seed=run_seed)
        line = BatchRequest(number=1, custom_id=custom_id, url=COMPLETIONS, body=body, num_bytes=1)
        return runner._body(line).get("seed")

    assert seed("a", 1) == seed("a", 1)
    assert len({seed("a", 1), seed("a", 2), seed("b", 1)}) == 3
    assert seed("a", 1, seed=7) == 7
    assert seed("a", None) is None


def test_a_lines_deadline_holds_in_a_batch_too(tmp_path):
    service = toy_service(lambda *_: 45, delay=0.02)
    long = {"prompt": "Hello", "max_tokens": 900, "timeout": 0.5}
    results = run_batch(
        tmp_path, [(COMPLETIONS, long), (COMPLETIONS, long | {"max_tokens": 2, "timeout": 60})], service
    )
    late, in_time = results["0"]["response"], results["1"]["response"]
    assert (late["status_code"], late["body"]["error"]["code"]) == (504, "deadline_exceeded")
    assert in_time["status_code"] == 200
