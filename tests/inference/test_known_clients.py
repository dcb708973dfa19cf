"""What well-known clients send without being told to is taken, and answered."""

import re
from typing import Any

import anthropic
import httpx
import pytest

from tests.inference import chat
from tests.processes import Role

CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages?beta=true"
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {"command": {"type": "string"}},
    "required": ["command"],
    "additionalProperties": False,
}
FUNCTION = {"name": "shell", "description": "Run it.", "parameters": SCHEMA, "strict": False}
CACHED = {"cache_control": {"type": "ephemeral"}}
CODE: dict[str, Any] = {
    "model": "opta-tiny",
    "max_tokens": 5,
    "system": [
        {
            "type": "text",
            "text": "You write code.",
            "cache_control": {"type": "ephemeral", "scope": "global"},
        },
        {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
    ],
    "messages": [
        {
            "role": "user",
            "content": [{"type": "text", "text": "<reminder>"}, {"type": "text", "text": "hi", **CACHED}],
        }
    ],
    "tools": [{"name": "Bash", "description": "Run it.", "input_schema": SCHEMA}],
    "metadata": {"user_id": "user_1"},
    "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    "temperature": 1,
    "stream": True,
}
SENT: dict[str, tuple[str, dict[str, Any]]] = {
    "LangChain": (
        CHAT,
        {
            "messages": chat.HELLO,
            "stream": True,
            "stream_options": {"include_usage": True},
            "n": 1,
            "tools": [{"type": "function", "function": FUNCTION}],
            "tool_choice": "auto",
            "parallel_tool_calls": False,
        },
    ),
    "LiteLLM": (
        CHAT,
        {
            "messages": [{"role": "user", "content": [{"type": "text", "text": "hello", **CACHED}]}],
            "temperature": 0,
            "stream": True,
        },
    ),
    "Continue": (
        "/v1/completions",
        {"prompt": "def f(", "stop": [f"\n{word} " for word in ("def", "class", "if") * 8], "stream": True},
    ),
    "Codex": (
        RESPONSES,
        {
            "instructions": "You write code.",
            "input": [
                {
                    "type": "message",
                    "role": "developer",
                    "content": [{"type": "input_text", "text": "Be brief."}],
                },
                {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]},
            ],
            "tools": [{"type": "function", **FUNCTION}],
            "tool_choice": "auto",
            "parallel_tool_calls": False,
            "reasoning": {"effort": "medium", "summary": "auto"},
            "include": ["reasoning.encrypted_content"],
            "prompt_cache_key": "1",
            "client_metadata": {"session": "1"},
            "store": False,
            "stream": True,
            "max_output_tokens": 5,
        },
    ),
    "Claude Code": (MESSAGES, CODE),
    "Claude Code, thinking as it may": (MESSAGES, {**CODE, "thinking": {"type": "adaptive"}}),
    "Claude Code, thinking of whatever model": (
        MESSAGES,
        {**CODE, "max_tokens": 40, "thinking": {"type": "enabled", "budget_tokens": 31999}},
    ),
    "Open WebUI": (
        "/api/chat",
        {"model": "opta-tiny:latest", "messages": chat.HELLO, "options": {"num_predict": 5}, "stream": True},
    ),
}


@pytest.mark.parametrize("client", SENT)
def test_it_is_answered(lmx: Role, client: str):
    path, sent = SENT[client]
    response = httpx.post(
        lmx.url + path, json={"max_tokens": 5, **sent} if path == CHAT else sent, timeout=60
    )
    assert response.status_code == 200, response.text
    assert not re.search(r'"error": ?["{]', response.text)


def test_anthropics_client_lists_the_models(lmx: Role):
    with anthropic.Anthropic(base_url=lmx.url, api_key="none", max_retries=0) as client:
        (found,) = list(client.models.list(limit=1000))
        assert client.models.retrieve("opta-tiny") == found
    assert (found.id, found.type, found.display_name) == ("opta-tiny", "model", "opta-tiny")
    assert found.created_at.timestamp() == httpx.get(f"{lmx.url}/v1/models/opta-tiny").json()["created"]


@pytest.mark.parametrize("nothing", ["", []])
def test_an_answer_of_which_nothing_is_there_yet_is_the_one_that_is_asked_for(lmx: Role, nothing: Any):
    wanted = {"model": "opta-tiny", "max_tokens": 12, "temperature": 0}
    begun = [*chat.HELLO, {"role": "assistant", "content": nothing}]
    one, other = (
        httpx.post(f"{lmx.url}/v1/messages", json={**wanted, "messages": messages}, timeout=60).json()
        for messages in (chat.HELLO, begun)
    )
    assert one["content"] == other["content"]
