"""OpenAI's newer API: items, typed events, and turns that go on from a kept answer."""

from typing import Any

import httpx
import openai
import pytest

from inference.api.store import Store
from inference.request import Message
from opta.errors import Refusal
from tests.inference import chat
from tests.processes import Role

WANTED: dict[str, Any] = {"model": "auto", "input": "hello", "temperature": 0, "max_output_tokens": 12}


def post(lmx: Role, **fields: Any) -> httpx.Response:
    return httpx.post(f"{lmx.url}/v1/responses", json={**WANTED, **fields}, timeout=60)


def test_it_says_what_chat_says(client: openai.OpenAI, lmx: Role):
    found = client.responses.create(**WANTED)
    assert found.output_text == chat.text(lmx.url)
    assert found.status == "incomplete"
    assert found.incomplete_details
    assert found.incomplete_details.reason == "max_output_tokens"
    assert found.usage
    assert (found.usage.output_tokens, found.model) == (12, "opta-tiny")


def test_its_events_tell_the_whole_answer_in_order(client: openai.OpenAI):
    whole = client.responses.create(**WANTED)
    events = list(client.responses.create(stream=True, **WANTED))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type.removeprefix("response.") for event in events]
    assert list(dict.fromkeys(kinds)) == [
        *("created", "in_progress", "output_item.added", "content_part.added", "output_text.delta"),
        *("output_text.done", "content_part.done", "output_item.done", "incomplete"),
    ]
    deltas = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    last = events[-1]
    assert last.type == "response.incomplete"
    assert deltas == last.response.output_text == whole.output_text


def test_a_turn_goes_on_from_a_kept_answer(client: openai.OpenAI, lmx: Role):
    first = client.responses.create(**WANTED)
    second = client.responses.create(
        **{**WANTED, "input": "and then?"}, previous_response_id=first.id, instructions="be brief"
    )
    messages = [
        {"role": "system", "content": "be brief"},
        *chat.HELLO,
        {"role": "assistant", "content": first.output_text},
        {"role": "user", "content": "and then?"},
    ]
    assert second.output_text == chat.text(lmx.url, messages=messages)
    # The instructions were for that one answer.
    third = client.responses.create(**{**WANTED, "input": "why?"}, previous_response_id=second.id)
    said = [
        {"role": "assistant", "content": second.output_text},
        {"role": "user", "content": "why?"},
    ]
    assert third.output_text == chat.text(lmx.url, messages=[*messages[1:], *said])


def test_items_say_what_messages_say(lmx: Role):
    items = [
        {"role": "developer", "content": [{"type": "input_text", "text": "be brief"}]},
        {"role": "user", "content": "hello"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": [], "encrypted_content": None},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "yes"}]},
        {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_1", "output": "nothing"},
    ]
    call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    messages = [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "yes", "reasoning_content": "", "tool_calls": [call]},
        {"role": "tool", "content": "nothing", "tool_call_id": "call_1"},
    ]
    found = post(lmx, input=items).json()
    assert found["output"][0]["content"][0]["text"] == chat.text(lmx.url, messages=messages)


def test_an_answer_is_kept_until_it_is_forgotten(client: openai.OpenAI):
    found = client.responses.create(**WANTED)
    assert client.responses.retrieve(found.id) == found
    client.responses.delete(found.id)
    with pytest.raises(openai.NotFoundError, match=found.id):
        client.responses.retrieve(found.id)
    with pytest.raises(openai.NotFoundError, match=found.id):
        client.responses.create(**WANTED, previous_response_id=found.id)


def test_an_answer_that_is_not_to_be_stored_is_not(client: openai.OpenAI):
    found = client.responses.create(**WANTED, store=False)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(found.id)


def test_log_probabilities_come_with_the_text(lmx: Role):
    part = post(lmx, include=["message.output_text.logprobs"], top_logprobs=2).json()["output"][0]["content"][
        0
    ]
    assert len(part["logprobs"]) == 12
    assert all(len(one["top_logprobs"]) == 2 for one in part["logprobs"])


TOOL = {"type": "function", "name": "look", "parameters": {"type": "object"}}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({"input": []}, "input"),
    "blank": ({"input": " "}, "input.0.message.content"),
    "an image": (
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
        "input.0.message.content",
    ),
    "an item of another kind": ({"input": [{"type": "computer_call", "id": "x"}]}, "input.0"),
    "a built-in tool": ({"tools": [{"type": "web_search"}]}, "tools.0.type"),
    "a tool that is not there": (
        {"tools": [TOOL], "tool_choice": {"type": "function", "name": "x"}},
        "tool_choice",
    ),
    "a summary": ({"reasoning": {"summary": "detailed"}}, "reasoning.summary"),
    "truncation": ({"truncation": "auto"}, "truncation"),
    "the background": ({"background": True}, "background"),
    "another verbosity": ({"text": {"verbosity": "low"}}, "text.verbosity"),
    "chat's field": ({"messages": []}, "messages"),
    "scores of nothing": ({"top_logprobs": 2}, "top_logprobs"),
    "a schema without one": ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_by_the_name_of_the_field(lmx: Role, case: str):
    fields, field = REFUSED[case]
    response = post(lmx, **fields)
    assert (response.status_code, response.json()["error"]["param"]) == (400, field)


def test_the_store_forgets_what_was_used_longest_ago():
    said = [Message("user", "x" * 1000)]
    store = Store(count=3, limit=3500)
    for id in "abc":
        store.put(id, {}, said)
    store.get("a")
    store.put("d", {}, said)
    assert list(store.kept) == ["c", "a", "d"]
    store.put("large", {}, said * 2)
    assert list(store.kept) == ["d", "large"]
    store.put("too large", {}, said * 9)
    assert (store.size, len(store.kept)) == (0, 0)
    with pytest.raises(Refusal, match="too large"):
        store.get("too large")
