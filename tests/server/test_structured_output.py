"""Structured output over HTTP, on the embedded model, through the official client."""

import json
import re
import threading
import time
from types import SimpleNamespace

import jsonschema
import openai
import pytest

from gradus.config import EngineConfig
from gradus.engine.async_engine import AsyncEngine
from gradus.runtime import load_runtime
from gradus.server.service import Service
from gradus.structured.compiler import LlguidanceCompiler
from tests.server.harness import SETTINGS, hosting

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer", "maximum": 150}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA, "strict": True}}
MESSAGES = [{"role": "user", "content": "Describe a person in JSON."}]


@pytest.fixture(scope="module")
def demo():
    runtime = load_runtime(EngineConfig(model="demo", seed=0))
    service = Service(AsyncEngine(runtime.core), runtime.inputs, "demo", SETTINGS)
    service.backend = SimpleNamespace(close=lambda: None)
    with hosting(service) as running:
        yield running
    runtime.close()


@pytest.fixture
def client(demo):
    return demo.client()


def chat(client, **options):
    return client.chat.completions.create(model="demo", messages=MESSAGES, seed=1, **options)


def test_a_chat_reply_is_of_the_schema_streamed_or_whole(client):
    whole = chat(client, response_format=FORMAT, n=2).choices
    for choice in whole:
        assert choice.finish_reason == "stop"
        jsonschema.validate(json.loads(choice.message.content), SCHEMA)
    texts = ["", ""]
    for chunk in chat(client, response_format=FORMAT, n=2, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts == [choice.message.content for choice in whole]


def test_a_completion_takes_the_same_fields(client):
    for body in (
        {"response_format": FORMAT},
        {"structured_outputs": {"json": json.dumps(SCHEMA), "regex": None}},
    ):
        completion = client.completions.create(
            model="demo", prompt=["A person: ", "Another: "], max_tokens=64, extra_body=body
        )
        for choice in completion.choices:
            jsonschema.validate(json.loads(choice.text), SCHEMA)


@pytest.mark.parametrize(
    ("form", "fits"),
    [
        ({"regex": "[0-9]{2}-[a-z]{3}"}, lambda text: re.fullmatch("[0-9]{2}-[a-z]{3}", text)),
        ({"choice": ["yes", "no"]}, lambda text: text in ("yes", "no")),
        ({"grammar": 'start: "<" /[a-z]{1,5}/ ">"'}, lambda text: re.fullmatch("<[a-z]{1,5}>", text)),
        ({"json_object": True}, lambda text: isinstance(json.loads(text), dict)),
        (
            {"json": SCHEMA, "disable_any_whitespace": True},
            lambda text: " " not in re.sub('"[^"]*"', "", text),
        ),
        ({"json": SCHEMA, "whitespace_pattern": r"\n", "disable_fallback": True}, lambda text: "\n" in text),
    ],
)
def test_each_kind_of_structured_outputs(client, form, fits):
    reply = chat(client, extra_body={"structured_outputs": form}, max_tokens=200)
    assert reply.choices[0].finish_reason == "stop"
    assert fits(reply.choices[0].message.content)


def test_json_object_and_text_as_response_format(client):
    reply = chat(client, response_format={"type": "json_object"}, max_tokens=200)
    assert isinstance(json.loads(reply.choices[0].message.content), dict)
    free = chat(client, response_format={"type": "text"}, temperature=0, max_tokens=20)
    assert (
        free.choices[0].message.content
        == chat(client, temperature=0, max_tokens=20).choices[0].message.content
    )


def test_what_cannot_be_compiled_names_the_field_of_the_request(client):
    schema = {"type": "array", "uniqueItems": True}
    with pytest.raises(openai.BadRequestError) as caught:
        chat(client, response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": schema}})
    assert caught.value.body["param"] == "response_format.json_schema.schema"
    assert "uniqueItems" in caught.value.body["message"]
    with pytest.raises(openai.BadRequestError) as caught:
        chat(client, response_format=FORMAT, extra_body={"structured_outputs": {"regex": "a"}})
    assert caught.value.body["param"] == "structured_outputs"


def test_compiling_does_not_hold_up_others(demo, monkeypatch):
    release, compile_it, compiling = threading.Event(), LlguidanceCompiler._compile, threading.Event()

    def slowly(self, params, vocabulary):
        compiling.set()
        release.wait(30)
        return compile_it(self, params, vocabulary)

    monkeypatch.setattr(LlguidanceCompiler, "_compile", slowly)
    replies = []
    body = {"structured_outputs": {"choice": ["only this"]}}
    thread = threading.Thread(target=lambda: replies.append(chat(demo.client(), extra_body=body)))
    thread.start()
    assert compiling.wait(30)
    assert demo.http.get("/health").status_code == 200
    assert chat(demo.client(), max_tokens=4).choices[0].finish_reason
    assert not replies
    release.set()
    thread.join(30)
    assert replies[0].choices[0].message.content == "only this"


def test_constrained_and_free_streams_run_together(demo):
    alone = chat(demo.client(), temperature=0.7, max_tokens=60).choices[0].message.content
    found: list[str] = []

    def ask(options):
        found.append(
            chat(demo.client(), temperature=0.7, max_tokens=60, **options).choices[0].message.content
        )

    threads = [
        threading.Thread(target=ask, args=(options,)) for options in [{}, {"response_format": FORMAT}] * 4
    ]
    for thread in threads:
        thread.start()
        time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert found.count(alone) == 4
