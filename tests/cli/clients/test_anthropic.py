"""Anthropic's wire against a scripted server; against LMX's own dialect of it in tests/contracts."""

import json
from typing import Any

import pytest

from cli.clients.anthropic import Anthropic
from cli.protocol.events import Usage
from cli.protocol.failures import Failure
from cli.protocol.messages import Finish, Message, Progress, Reasoning, ToolCall
from tests.cli.clients.conftest import said
from tests.scripted import Scripted

ADD = {
    "type": "function",
    "function": {"name": "add", "description": "Add.", "parameters": {"type": "object"}},
}
KEEP = {"cache_control": {"type": "ephemeral"}}

CALL = ToolCall(id="t1", name="add", arguments='{"a": 1}')
WRONG = ToolCall(id="t2", name="add", arguments="{a}")
HISTORY = [
    Message(role="system", content="Be brief."),
    Message(role="user", content="go"),
    Message(role="assistant", content="", calls=(CALL, WRONG)),
    Message(role="tool", content="2", call="t1"),
    Message(role="tool", content="bad", call="t2"),
    Message(role="system", content="Be quick."),
    Message(role="assistant", content=""),
    Message(role="user", content="and?"),
]


def event(type: str, **fields: Any) -> bytes:
    return f"event: {type}\ndata: {json.dumps({'type': type, **fields})}\n\n".encode()


def start(**usage: int) -> bytes:
    return event("message_start", message={"model": "claude-9", "usage": usage})


def block(index: int, **fields: Any) -> bytes:
    return event("content_block_start", index=index, content_block=fields)


def delta(index: int, **fields: Any) -> bytes:
    return event("content_block_delta", index=index, delta=fields)


def stop(reason: str = "end_turn", tokens: int = 7) -> bytes:
    ended = event("message_delta", delta={"stop_reason": reason}, usage={"output_tokens": tokens})
    return ended + event("message_stop")


@pytest.fixture
def client(one: Scripted, closing) -> Anthropic:
    return closing(Anthropic(one.url, "claude", key=lambda: "sk-ant"))


async def test_an_answer_with_thoughts_and_calls_and_its_usage(client: Anthropic, one: Scripted):
    one.will(
        b": reading 5/9\n\n",
        start(input_tokens=3, cache_read_input_tokens=20, cache_creation_input_tokens=4, output_tokens=1),
        event("ping"),
        block(0, type="thinking", thinking=""),
        delta(0, type="thinking_delta", thinking="Add."),
        delta(0, type="signature_delta", signature="xyz"),
        block(1, type="text", text=""),
        delta(1, type="text_delta", text="So"),
        block(2, type="tool_use", id="toolu_1", name="add", input={}),
        delta(2, type="input_json_delta", partial_json='{"a"'),
        delta(2, type="input_json_delta", partial_json=":1}"),
        block(3, type="tool_use", id="toolu_2", name="now", input={}),
        stop("tool_use"),
    )
    assert await said(client) == [
        Progress(done=5, total=9),
        Progress(done=0, total=0, work="waiting"),
        Reasoning(text="Add."),
        "So",
        ToolCall(id="toolu_1", name="add", arguments='{"a":1}'),
        ToolCall(id="toolu_2", name="now", arguments="{}"),
        Finish(
            reason="tool_calls",
            usage=Usage(prompt_tokens=27, completion_tokens=7, cached_tokens=20),
            model="claude-9",
        ),
    ]


async def test_the_request_is_in_its_words(client: Anthropic, one: Scripted):
    one.will(start(), stop("max_tokens"))
    choice = {"type": "function", "function": {"name": "add"}}
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    options = {"tool_choice": choice, "response_format": schema, "max_tokens": 9, "stop": "END"}
    *_, finish = [piece async for piece in client.chat("opus", HISTORY, [ADD], **options)]
    assert finish.reason == "length"
    assert one.requests == [
        {
            "model": "opus",
            "max_tokens": 9,
            "stream": True,
            "system": [{"type": "text", "text": "Be brief.", **KEEP}],
            "tools": [{"name": "add", "description": "Add.", "input_schema": {"type": "object"}}],
            "tool_choice": {"type": "tool", "name": "add"},
            "output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}},
            "stop_sequences": ["END"],
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "go"}]},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "tool_use", "id": "t1", "name": "add", "input": {"a": 1}},
                        {"type": "tool_use", "id": "t2", "name": "add", "input": {"arguments": "{a}"}},
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "t1", "content": "2"},
                        {"type": "tool_result", "tool_use_id": "t2", "content": "bad"},
                        {"type": "text", "text": "Be quick."},
                        {"type": "text", "text": "and?", **KEEP},
                    ],
                },
            ],
        }
    ]
    head = one.heads[0]
    assert head.startswith("post /v1/messages ")
    assert "x-api-key: sk-ant" in head
    assert "anthropic-version: 2023-06-01" in head


@pytest.mark.parametrize(
    ("status", "type", "message", "code"),
    [
        (404, "not_found_error", "model: opus-99", "model_not_found"),
        (401, "authentication_error", "invalid x-api-key", "provider_unauthorized"),
        (400, "invalid_request_error", "prompt is too long: 3 tokens > 2", "context_length_exceeded"),
        (529, "overloaded_error", "Overloaded", "provider_busy"),
        (429, "rate_limit_error", "Slow down", "provider_busy"),
    ],
)
async def test_a_refusal_has_a_code_of_ours(client: Anthropic, one: Scripted, status, type, message, code):
    one.will(
        json.dumps({"type": "error", "error": {"type": type, "message": message}}).encode(), status=status
    )
    with pytest.raises(Failure) as caught:
        await said(client)
    assert (caught.value.code, caught.value.message) == (code, f"{message}.")


async def test_an_error_in_the_middle_and_a_missing_end_are_failures(client: Anthropic, one: Scripted):
    one.will(start(), event("error", error={"type": "overloaded_error", "message": "Overloaded"}))
    one.will(start(), block(0, type="text", text="half"))
    one.will(start(), stop("refusal"))
    for code in ("provider_busy", "upstream_truncated", "upstream_refused"):
        with pytest.raises(Failure) as caught:
            await said(client)
        assert caught.value.code == code


async def test_what_is_new_in_the_api_or_null_does_not_end_the_answer(client: Anthropic, one: Scripted):
    one.will(
        event("message_start", message={"model": "claude-9", "usage": None}),
        event("vendor_thing", message="a text", index="none"),
        event("ping"),
        block(0, type="text", text=None),
        delta(0, type="text_delta", text="a"),
        delta(0, type="citations_delta", citation={"url": "x"}),
        block(1, type="server_tool_use", id="s", name="web_search", input={}),
        block(2, type="tool_use", id="t", name="add", input={"a": 1}),
        event("message_delta", delta={"stop_reason": "tool_use"}, usage=None),
        b"data: [DONE]\n\n",
    )
    alive, text, call, finish = await said(client)
    assert alive == Progress(done=0, total=0, work="waiting")
    assert (text, call) == ("a", ToolCall(id="t", name="add", arguments='{"a": 1}'))
    assert finish.reason == "tool_calls"


async def test_an_error_under_a_200_is_told(client: Anthropic, one: Scripted):
    one.will(b'{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}')
    with pytest.raises(Failure, match="Overloaded") as caught:
        await said(client)
    assert caught.value.code == "provider_busy"


async def test_the_id_of_another_servers_call_is_made_lawful(client: Anthropic, one: Scripted):
    foreign = ToolCall(id="functions.add:0", name="add")
    history = [
        Message(role="user", content="go"),
        Message(role="assistant", content="", calls=(foreign,)),
        Message(role="tool", content="2", call=foreign.id),
    ]
    one.will(start(), stop())
    assert [piece async for piece in client.chat("opus", history, [ADD])]
    _, asked, answered = one.requests[0]["messages"]
    ids = (asked["content"][0]["id"], answered["content"][0]["tool_use_id"])
    assert ids == ("functions_add_0", "functions_add_0")
