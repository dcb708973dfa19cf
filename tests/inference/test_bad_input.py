"""What is refused: with which status, naming which field, and that LMX goes on serving."""

import json
from typing import Any

import httpx
import pytest

from tests.inference import chat
from tests.processes import Role, send_endless_head

IMAGE = {"role": "user", "content": [{"type": "image_url"}]}
USER = {"role": "user", "content": "hello"}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
NAMED = {"type": "function", "function": {"name": "listen"}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
DEEP: dict[str, Any] = {}
for _ in range(70):
    DEEP = {"properties": DEEP}
DEEP_TOOL = {"type": "function", "function": {"name": "look", "parameters": DEEP}}
REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "empty prompt": ({"messages": [{"role": "user", "content": ""}]}, 400, "messages.0.content"),
    "blank prompt": ({"messages": [USER, {"role": "user", "content": " \n"}]}, 400, "messages.1.content"),
    "no messages": ({"messages": []}, 400, "messages"),
    "messages of null": ({"messages": None}, 400, "messages"),
    "unknown role": ({"messages": [{"role": "wizard", "content": "hi"}]}, 400, "messages.0.role"),
    "no content": ({"messages": [{"role": "user"}]}, 400, "messages.0.content"),
    "an image": (
        {"messages": [IMAGE]},
        400,
        "messages.0.content",
    ),
    "unknown field of a message": ({"messages": [{**USER, "mood": "good"}]}, 400, "messages.0.mood"),
    "unknown model": ({"model": "no/such"}, 404, "model"),
    "a way out of the folder": ({"model": "../models/opta-tiny"}, 404, "model"),
    "no tokens": ({"max_tokens": 0}, 400, "max_tokens"),
    "fewer than no tokens": ({"max_tokens": -1}, 400, "max_tokens"),
    "a number as text": ({"max_tokens": "12"}, 400, "max_tokens"),
    "more tokens than a number holds": ({"max_tokens": 10**30}, 400, "max_tokens"),
    "two limits": ({"max_completion_tokens": 5}, 400, "max_tokens"),
    "too hot": ({"temperature": 2.5}, 400, "temperature"),
    "no probability": ({"top_p": 0}, 400, "top_p"),
    "an empty stop": ({"stop": [""]}, 400, "stop.0"),
    "too many choices": ({"n": 17}, 400, "n"),
    "stream options without a stream": ({"stream_options": {"include_usage": True}}, 400, "stream_options"),
    "a field of nobody": ({"mood": "good"}, 400, "mood"),
    "a field that changes answers": ({"verbosity": "low"}, 400, "verbosity"),
    "alternatives to no log-probabilities": ({"top_logprobs": 3}, 400, "top_logprobs"),
    "too many alternatives": ({"logprobs": True, "top_logprobs": 21}, 400, "top_logprobs"),
    "a bias out of range": ({"logit_bias": {"5": 101}}, 400, "logit_bias.5"),
    "a bias of no token": ({"logit_bias": {"the": 1}}, 400, "logit_bias.the.[key]"),
    "a penalty out of range": ({"presence_penalty": -3}, 400, "presence_penalty"),
    "a built-in tool": ({"tools": [{"type": "web_search"}]}, 400, "tools.0.type"),
    "a tool that is there twice": ({"tools": [TOOL, TOOL]}, 400, "tools"),
    "a choice of a tool that is not there": ({"tools": [TOOL], "tool_choice": NAMED}, 400, "tool_choice"),
    "a choice among no tools": ({"tool_choice": "required"}, 400, "tool_choice"),
    "an unknown choice": ({"tools": [TOOL], "tool_choice": "some"}, 400, "tool_choice"),
    "a format without its schema": ({"response_format": {"type": "json_schema"}}, 400, "response_format"),
    "a template's own variable": (
        {"chat_template_kwargs": {"messages": []}},
        400,
        "chat_template_kwargs",
    ),
    "a call by the user": ({"messages": [{**USER, "tool_calls": [CALL]}]}, 400, "messages.0.tool_calls"),
    "an endless schema": ({"tools": [DEEP_TOOL]}, 400, "tools.0.function.parameters"),
    "audio": ({"modalities": ["text", "audio"]}, 400, "modalities.1"),
    "a padded stream": (
        {"stream": True, "stream_options": {"include_obfuscation": True}},
        400,
        "stream_options.include_obfuscation",
    ),
    "longer than the context": ({"messages": [{"role": "user", "content": "word " * 9000}]}, 400, "messages"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_by_the_name_of_the_field(lmx: Role, case: str):
    fields, status, field = REFUSED[case]
    for stream in (False, True):
        if stream and "stream_options" in fields:
            continue
        response = chat.post(lmx.url, **{"stream": stream, **fields})
        error = response.json()["error"]
        assert (response.status_code, error["param"]) == (status, field)
        assert error["type"] == "invalid_request_error"
        assert error["message"]
        assert error["code"]


def test_a_prompt_beyond_the_context_is_told_both_numbers(lmx: Role):
    error = chat.post(lmx.url, messages=[{"role": "user", "content": "word " * 9000}]).json()["error"]
    assert error["code"] == "context_length_exceeded"
    assert "9013 tokens" in error["message"]
    assert "8192" in error["message"]


@pytest.mark.parametrize(
    "content", [b"", b"not json", b"[]", b'"text"', b"null", b"\xff\xfe", b'{"messages": ']
)
def test_a_body_that_is_no_json_object_is_a_400(lmx: Role, content: bytes):
    response = httpx.post(f"{lmx.url}/v1/chat/completions", content=content)
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert response.json()["error"]["param"] == "body"


@pytest.mark.parametrize("where", ["content", "name"])
def test_half_a_character_is_refused_by_its_field(lmx: Role, where: str):
    # JSON can say it, and UTF-8 cannot.
    wanted = json.dumps(chat.body(messages=[{**USER, where: "\ud800"}]))
    response = httpx.post(f"{lmx.url}/v1/chat/completions", content=wanted)
    assert (response.status_code, response.json()["error"]["param"]) == (400, f"messages.0.{where}")


def test_a_wrong_method_is_told_the_right_one(lmx: Role):
    assert httpx.get(f"{lmx.url}/v1/chat/completions").headers["Allow"] == "POST"


def test_a_body_over_ten_megabytes_is_a_413(lmx: Role):
    large = b" " * (10 * 1024 * 1024 + 1)
    announced = httpx.post(f"{lmx.url}/v1/chat/completions", content=large)
    unannounced = httpx.post(f"{lmx.url}/v1/chat/completions", content=iter([large[:6_000_000]] * 2))
    for response in (announced, unannounced):
        assert response.status_code == 413
        assert response.json()["error"]["code"] == "body_too_large"


def test_a_head_without_an_end_is_read_up_to_a_limit(lmx: Role):
    with pytest.raises(ConnectionError):
        send_endless_head(lmx, "/healthz")
    assert httpx.get(f"{lmx.url}/healthz", headers={"X": "x" * 30_000}).status_code == 200


def test_refusals_leave_the_running_answers_alone(lmx: Role):
    expected = chat.text(lmx.url, max_tokens=60)
    with chat.streaming(lmx.url, max_tokens=60) as chunks:
        found = [next(chunks)]
        for fields, status, _ in REFUSED.values():
            assert chat.post(lmx.url, **fields).status_code == status
        found += chunks
    assert chat.content(found) == expected


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [("GET", "/v1/chat/completions", 405, "method_not_allowed"), ("GET", "/v1/nowhere", 404, "not_found")],
)
def test_a_wrong_address_is_told_in_the_same_dialect(
    lmx: Role, method: str, path: str, status: int, code: str
):
    response = httpx.request(method, lmx.url + path)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
