"""Anthropic's dialect, mostly through Anthropic's own client, with the real tiny model behind it."""

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import httpx2
import pytest

from inference.api.answers import Choice
from inference.api.dialect import encode
from inference.api.messages import Reply, failed
from inference.errors import RunnerDied, told
from inference.request import Ended, Event, Finish, Reasoning, Text, ToolCall
from inference.schemas.messages import CountRequest
from opta.errors import Refusal
from tests.inference import chat
from tests.processes import Role

GREEDY = {"temperature": 0}
# Their client has no parameter for temperature any more.
HELLO: dict[str, Any] = {
    "model": "opta-tiny", "max_tokens": 12, "messages": chat.HELLO, "extra_body": GREEDY
}  # fmt: skip
WEATHER = {"name": "weather", "description": "of a place", "input_schema": {"type": "object"}}
USER = {"role": "user", "content": "hello"}


@pytest.fixture
def client(lmx: Role) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=lmx.url, api_key="none", max_retries=0) as client:
        yield client


def post(lmx: Role, path: str = "messages", **fields: Any) -> httpx.Response:
    wanted = {"model": "opta-tiny", "max_tokens": 12, "messages": chat.HELLO, **fields}
    return httpx.post(f"{lmx.url}/v1/{path}", json=wanted, timeout=60)


def test_it_answers_what_openais_chat_answers(client: anthropic.Anthropic, lmx: Role):
    found = client.messages.create(**HELLO)
    (block,) = found.content
    assert (found.type, found.role, found.model) == ("message", "assistant", "opta-tiny")
    assert block.type == "text"
    assert block.text == chat.text(lmx.url)
    assert (found.stop_reason, found.stop_sequence) == ("max_tokens", None)


def test_it_streams_what_it_answers_whole(client: anthropic.Anthropic):
    whole = client.messages.create(**HELLO)
    with client.messages.stream(**HELLO) as stream:
        text = "".join(stream.text_stream)
        found = stream.get_final_message()
    assert text == whole.content[0].text
    assert [block.text for block in found.content] == [text]
    assert (found.stop_reason, found.usage.output_tokens) == ("max_tokens", 12)
    types = [event.type for event in client.messages.create(stream=True, **HELLO)]
    assert types[:2] == ["message_start", "content_block_start"]
    assert types[-3:] == ["content_block_stop", "message_delta", "message_stop"]


def test_what_was_kept_of_the_prompt_is_counted_apart(client: anthropic.Anthropic, lmx: Role):
    wanted = {**HELLO, "system": "a prefix to keep " * 20}
    client.messages.create(**wanted)
    whole = client.messages.create(**wanted).usage
    with client.messages.stream(**wanted) as stream:
        streamed = stream.get_final_message().usage
    for usage in (whole, streamed):
        assert usage.cache_creation_input_tokens == 0
        assert usage.cache_read_input_tokens > 80
        assert usage.input_tokens >= 1
        assert usage.output_tokens == 12
    counted = client.messages.count_tokens(**{k: wanted[k] for k in ("model", "messages", "system")})
    assert counted.input_tokens == whole.input_tokens + whole.cache_read_input_tokens


def test_a_stop_sequence_is_told(client: anthropic.Anthropic):
    words = client.messages.create(**HELLO).content[0].text.split(" ")
    found = client.messages.create(**HELLO, stop_sequences=["never said", words[5]])
    assert (found.stop_reason, found.stop_sequence) == ("stop_sequence", words[5])
    assert found.content[0].text == " ".join(words)[: " ".join(words).index(words[5])]


def test_an_answer_that_was_begun_goes_on(client: anthropic.Anthropic):
    whole = client.messages.create(**HELLO).content[0].text
    begun = whole[: whole.index(" ", 20)]
    turn = {"role": "assistant", "content": begun}
    found = client.messages.create(**{**HELLO, "messages": [USER, turn]})
    assert (begun + found.content[0].text).startswith(whole)


def test_blocks_are_read_as_text(client: anthropic.Anthropic):
    cached = {"type": "ephemeral"}
    parts = [{"type": "text", "text": "hello", "cache_control": cached}]
    found = client.messages.create(**{**HELLO, "messages": [{"role": "user", "content": parts}]})
    assert found.content == client.messages.create(**HELLO).content
    system = [{"type": "text", "text": "be brief", "cache_control": cached}]
    assert (
        client.messages.create(**HELLO, system=system).content
        == client.messages.create(**HELLO, system="be brief").content
    )


def test_a_history_of_calls_becomes_what_templates_want():
    history = [
        USER,
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "rain?", "signature": ""},
            {"type": "redacted_thinking", "data": "xyz"},
            {"type": "text", "text": "I look."},
            {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"place": 10**30}},
        ]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "toolu_1", "content": "no such place", "is_error": True},
            {"type": "text", "text": "try again"},
        ]},
        {"role": "user", "content": "please"},
    ]  # fmt: skip
    wanted = CountRequest.model_validate({"model": "auto", "system": "be brief", "messages": history})
    system, user, assistant, tool, again = wanted.prompt.messages
    assert (system.role, system.content) == ("system", "be brief")
    assert (user.role, user.content) == ("user", "hello")
    assert (assistant.reasoning, assistant.content) == ("rain?", "I look.")
    (call,) = assistant.tool_calls
    assert (call.id, call.name, json.loads(call.arguments)) == ("toolu_1", "weather", {"place": 10**30})
    assert (tool.role, tool.name, tool.tool_call_id) == ("tool", "weather", "toolu_1")
    assert tool.content == "Error: no such place"
    assert (again.role, again.content) == ("user", "try again\nplease")
    assert not wanted.prompt.resume


@pytest.mark.parametrize(
    ("fields", "variables", "budget"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, {"enable_thinking": True}, 1024),
        ({"thinking": {"type": "disabled"}}, {"enable_thinking": False}, None),
        ({"thinking": {"type": "adaptive"}}, {}, None),
        ({"output_config": {"effort": "low"}}, {"reasoning_effort": "low"}, None),
    ],
)
def test_thinking_reaches_the_template(fields: dict[str, Any], variables: dict[str, Any], budget: int | None):
    wanted = CountRequest.model_validate({"model": "auto", "messages": [USER], **fields})
    assert wanted.prompt.variables == variables
    assert (wanted.thinking and wanted.thinking.budget_tokens) == budget


def test_a_tool_is_called_and_its_result_goes_on(client: anthropic.Anthropic):
    place = {"type": "object", "properties": {"place": {"enum": ["Paris", "Rome"]}}, "required": ["place"],
             "additionalProperties": False}  # fmt: skip
    tools = [{"name": "weather", "description": "of a place", "input_schema": place, "strict": True}]
    forced = {"tools": tools, "tool_choice": {"type": "any", "disable_parallel_tool_use": True}}
    wanted = {**HELLO, "max_tokens": 200, **forced}
    found = client.messages.create(**wanted)
    (call,) = [block for block in found.content if block.type == "tool_use"]
    assert (found.stop_reason, call.name) == ("tool_use", "weather")
    assert call.input["place"] in ("Paris", "Rome")
    with client.messages.stream(**wanted) as stream:
        streamed = stream.get_final_message()
    (again,) = [block for block in streamed.content if block.type == "tool_use"]
    assert (streamed.stop_reason, again.input) == ("tool_use", call.input)
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "rain"}
    turns = [USER, {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    last = client.messages.create(**{**HELLO, "messages": turns}, tools=tools)
    counted = client.messages.count_tokens(model="opta-tiny", messages=turns, tools=tools)
    usage = last.usage
    assert counted.input_tokens == usage.input_tokens + usage.cache_read_input_tokens


ANSWERS: dict[str, list[Event]] = {
    "thought, text and two calls": [
        Reasoning(1, "let me "), Reasoning(1, "see"), Text(1, "I "), Text(1, "look"),
        ToolCall(1, 0, "call_1", "weather"), ToolCall(1, 0, arguments='{"place": '),
        ToolCall(1, 0, arguments='"Paris"}'), ToolCall(1, 1, "call_2", "time", "{}"),
        Ended(1, "tool_calls"),
    ],
    "a call cut short": [
        ToolCall(1, 0, "call_1", "weather"), ToolCall(1, 0, arguments='{"place": "Paris", "wh'),
        Ended(1, "length"),
    ],
    "a number of any length": [
        ToolCall(1, 0, "call_1", "count", f'{{"to": {10**30}}}'), Ended(1, "tool_calls"),
    ],
    "nothing": [Text(1, ""), Ended(1, "stop")],
    "a stop sequence": [Text(1, "so"), Ended(1, "stop", stop="END")],
}  # fmt: skip


@pytest.mark.parametrize("case", ANSWERS)
def test_their_client_puts_a_stream_together_to_what_is_answered_whole(case: str):
    finish = Finish(1, prompt_tokens=9, cached_tokens=4, completion_tokens=20, reasoning_tokens=3)
    choice = Choice()
    for event in ANSWERS[case]:
        choice.add(event)
    whole = anthropic.types.Message.model_validate_json(encode(Reply("m", 20, "msg_1").whole(choice, finish)))
    reply = Reply("m", 20, "msg_1")
    frames = [reply.begin(9), *(frame for event in [*ANSWERS[case], finish] for frame in reply.frames(event))]
    with replayed(frames).messages.stream(**HELLO) as stream:
        found = stream.get_final_message()
    assert found.model_dump(exclude_none=True) == whole.model_dump(exclude_none=True)
    assert found.usage.input_tokens == 5


@pytest.mark.parametrize(("limit", "reason"), [(20, "max_tokens"), (21, "model_context_window_exceeded")])
def test_an_answer_that_ends_before_its_limit_has_filled_the_context(limit: int, reason: str):
    finish = Finish(1, prompt_tokens=9, cached_tokens=0, completion_tokens=20)
    assert Reply("m", limit).whole(Choice("so", reason="length"), finish).stop_reason == reason


def test_a_break_in_the_middle_is_an_error_of_theirs():
    frames = [Reply("m", 20).begin(9), failed(RunnerDied("The runner of m was killed."))]
    with (
        pytest.raises(anthropic.APIStatusError) as error,
        replayed(frames).messages.stream(**HELLO) as stream,
    ):
        stream.get_final_message()
    assert error.value.type == "api_error"
    assert "was killed" in str(error.value)


def replayed(frames: list[bytes]) -> anthropic.Anthropic:
    """A client whose every request is answered by `frames`."""

    def stream() -> Iterator[bytes]:
        yield from frames

    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=stream())

    http = httpx2.Client(transport=httpx2.MockTransport(answer))
    return anthropic.Anthropic(base_url="http://replayed", api_key="none", http_client=http)


IMAGE = {"type": "image", "source": {"type": "url", "url": "http://x"}}
RESULT = {"type": "tool_result", "tool_use_id": "x"}
CALL = {"type": "tool_use", "id": "x", "name": "weather", "input": {}}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no limit": ({"max_tokens": None}, "max_tokens"),
    "no messages": ({"messages": []}, "messages"),
    "empty": ({"messages": [{"role": "user", "content": " "}]}, "messages.0.content"),
    "an image": ({"messages": [{"role": "user", "content": [IMAGE]}]}, "image"),
    "too hot": ({"temperature": 1.5}, "temperature"),
    "a field of nobody": ({"mood": "good"}, "mood"),
    "a server tool": ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools.0.type"),
    "two tools of one name": ({"tools": [WEATHER, WEATHER]}, "tools"),
    "a choice that is not there": ({"tools": [WEATHER], "tool_choice": {"type": "tool", "name": "x"}},
                                   "tool_choice"),
    "any of no tools": ({"tool_choice": {"type": "any"}}, "tool_choice"),
    "a result of no call": ({"messages": [{"role": "user", "content": [RESULT]}]}, "messages"),
    "a call by the user": ({"messages": [{"role": "user", "content": [CALL]}]}, "messages.0.content"),
    "a beginning that ends in a space": (
        {"messages": [USER, {"role": "assistant", "content": "I "}]}, "messages",
    ),
    "thinking without a budget": ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
    "thinking before a beginning": (
        {"messages": [USER, {"role": "assistant", "content": "I"}],
         "thinking": {"type": "enabled", "budget_tokens": 1024}}, "thinking",
    ),
    "longer than the context": ({"messages": [{"role": "user", "content": "word " * 9000}]}, "8192"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_refused_by_its_name(lmx: Role, case: str):
    fields, named = REFUSED[case]
    response = post(lmx, **fields)
    found = response.json()
    assert response.status_code == 400, found
    assert (found["type"], found["error"]["type"]) == ("error", "invalid_request_error")
    assert named in found["error"]["message"]
    assert found["request_id"].startswith("req_")


def test_every_failure_below_the_path_is_in_their_words(client: anthropic.Anthropic, lmx: Role):
    with pytest.raises(anthropic.NotFoundError) as unknown:
        client.messages.create(**{**HELLO, "model": "claude-opus-9"})
    assert unknown.value.body["error"]["type"] == "not_found_error"
    url = f"{lmx.url}/v1/messages"
    refused = [
        (httpx.get(url), 405, "invalid_request_error"),
        (httpx.post(f"{url}/batches", json={}), 404, "not_found_error"),
        (httpx.post(url, json={}, headers={"Host": "evil.example"}), 403, "permission_error"),
        (httpx.post(url, content=b"not json"), 400, "invalid_request_error"),
        (httpx.post(url, content=b" " * (11 << 20), timeout=60), 413, "request_too_large"),
    ]
    for response, status, kind in refused:
        assert response.status_code == status
        assert response.json()["type"] == "error"
        assert response.json()["error"]["type"] == kind


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, "authentication_error"), (409, "invalid_request_error"), (429, "rate_limit_error"),
     (500, "api_error"), (503, "api_error")],
)  # fmt: skip
def test_every_status_has_a_type_of_theirs(status: int, kind: str):
    found = told("/v1/messages/count_tokens", Refusal("It is so.", status=status, field="model"))
    assert found["error"] == {"type": kind, "message": "model: It is so."}
