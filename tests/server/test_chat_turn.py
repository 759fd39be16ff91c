"""A turn of a conversation as any front end uses it: prompt, form and parts, without HTTP."""

import asyncio

import pytest

from gradus.errors import InvalidRequestError
from gradus.sampling_params import SamplingParams
from gradus.server.chat_turn import ChatTurn, open_turn
from gradus.text.reply.parts import CallArguments, CallBegin, ContentText, ReasoningText, joined
from gradus.text.reply.reply_format import ReplyFormat
from gradus.text.reply.tools import FunctionTool, ToolChoice
from tests.server.chat_templates import HERMES, MISTRAL, THINKING, tokenizer_for
from tests.server.harness import say, toy_service

USER = [{"role": "user", "content": "Hi"}]
CLOCK = FunctionTool(name="clock", parameters={"type": "object", "properties": {"zone": {"type": "string"}}})
CALL = '<tool_call>\n{"name": "clock", "arguments": {"zone": "CET"}}\n</tool_call>'


def service_of(template, text="Hi", *special, **options):
    return toy_service(say(text), tokenizer=tokenizer_for(template, *special), **options)


async def run(service, turn, **params):
    """All parts of every choice, and the reader."""
    service.engine.start()
    try:
        opened = open_turn(service, turn)
        params = opened.constrained(SamplingParams(max_tokens=None, **params))
        request = service.inputs.process("r", opened.prompt, params, add_special_tokens=False)
        generation = service.generate([request], shown_special_ids=opened.shown_special_ids)
        reader = opened.reader(params.n)
        parts = [[] for _ in range(params.n)]
        async for deltas in generation.deltas():
            for delta in deltas:
                parts[delta.index] += reader.read(delta)
        whole = opened.reader(params.n)
        for output in generation.states[0].output().outputs:
            whole.read_whole(output)
        assert whole.messages == reader.messages
        assert whole.num_reasoning_tokens == reader.num_reasoning_tokens
        return [joined(choice) for choice in parts], reader
    finally:
        await service.engine.shutdown()


def test_parts_come_in_order_and_add_up():
    service = service_of(THINKING, f"hm\n</think>\n\nYes.{CALL}", "</think>")
    [parts], reader = asyncio.run(run(service, ChatTurn(messages=USER, tools=(CLOCK,))))
    assert parts == [
        ReasoningText("hm"),
        ContentText("Yes."),
        CallBegin(0, "clock"),
        CallArguments(0, '{"zone": "CET"}'),
    ]
    assert reader.finish_reason(0, "stop") == "tool_calls"
    assert reader.finish_reason(0, "length") == "length"
    assert reader.num_reasoning_tokens == len(service.tokenizer.encode("hm\n</think>"))


def test_choices_are_read_apart_from_one_another():
    service = service_of(HERMES, CALL)
    parts, reader = asyncio.run(run(service, ChatTurn(messages=USER, tools=(CLOCK,)), n=2))
    assert parts[0][0] == CallBegin(0, "clock")
    assert parts[1] == [ContentText(CALL[1:])]
    assert [reader.finish_reason(i, "stop") for i in range(2)] == ["tool_calls", "stop"]


def test_special_marks_are_seen_only_where_they_are_read():
    text = '[TOOL_CALLS][{"name": "clock", "arguments": {}}]'
    turn = ChatTurn(messages=USER, tools=(CLOCK,))
    [parts], _ = asyncio.run(run(service_of(MISTRAL, text, "[TOOL_CALLS]"), turn))
    assert parts == [CallBegin(0, "clock"), CallArguments(0, "{}")]
    [parts], _ = asyncio.run(run(service_of(MISTRAL, text, "[TOOL_CALLS]"), ChatTurn(messages=USER)))
    assert parts == [ContentText(text.removeprefix("[TOOL_CALLS]"))]


def test_a_server_that_reads_no_calls_refuses_tools():
    service = service_of(HERMES, reply_format=ReplyFormat("none"))
    with pytest.raises(InvalidRequestError, match="reads no tool calls") as caught:
        open_turn(service, ChatTurn(messages=USER, tools=(CLOCK,)))
    assert caught.value.param == "tools"
    open_turn(service, ChatTurn(messages=USER, tools=(CLOCK,), tool_choice=ToolChoice("none")))


def test_ids_are_as_mistrals_templates_want_them():
    """Nine characters, the same for a call and its result, another for another call."""
    call = {"type": "function", "function": {"name": "clock", "arguments": {}}}
    messages = [*USER]
    for call_id in ("call_1", "call_2"):
        messages.append({"role": "assistant", "content": "", "tool_calls": [{**call, "id": call_id}]})
        messages.append({"role": "tool", "tool_call_id": call_id, "content": "12:00"})
    prompt = open_turn(service_of(MISTRAL), ChatTurn(messages=messages)).prompt
    ids = [part.split('"')[0] for part in prompt.split('"id": "')[1:]]
    results = [part.split(":")[0] for part in prompt.split("[TOOL_RESULTS]")[1:]]
    assert ids == results
    assert len(set(ids)) == 2
    assert all(len(call_id) == 9 and call_id.isalnum() for call_id in ids)
