"""What openai-python asks of chat beyond text: tools, formats, log-probabilities, several choices."""

import json
import math
from typing import Any

import httpx
import openai
import pytest

from tests.inference import chat
from tests.processes import Role

TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "Look somewhere.",
        "parameters": {
            "type": "object",
            "properties": {"where": {"enum": ["here", "there"]}, "times": {"type": "integer", "maximum": 3}},
            "required": ["where"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}
OTHER: dict[str, Any] = {"type": "function", "function": {"name": "listen"}}
WANTED: dict[str, Any] = {"model": "auto", "messages": chat.HELLO, "max_tokens": 300, "seed": 3}


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "look"}}])
def test_a_call_that_is_asked_for_comes(client: openai.OpenAI, choice: Any):
    tools = [TOOL, OTHER] if isinstance(choice, dict) else [TOOL]
    found = client.chat.completions.create(**WANTED, tools=tools, tool_choice=choice).choices[0]
    assert found.finish_reason == "tool_calls"
    assert found.message.content is None
    assert found.message.tool_calls
    for call in found.message.tool_calls:
        assert call.function.name == "look"
        assert json.loads(call.function.arguments)["where"] in ("here", "there")


def test_a_streamed_call_is_the_whole_one_in_pieces(client: openai.OpenAI):
    wanted: dict[str, Any] = {
        **WANTED,
        "tools": [TOOL],
        "tool_choice": "required",
        "parallel_tool_calls": False,
    }
    (whole,) = client.chat.completions.create(**wanted).choices[0].message.tool_calls or ()
    chunks = [chunk.choices[0] for chunk in client.chat.completions.create(stream=True, **wanted)]
    first, *pieces = [call for chunk in chunks for call in chunk.delta.tool_calls or ()]
    assert first.id
    assert (first.type, first.function.name, first.function.arguments) == ("function", "look", "")
    assert all(piece.id is None and piece.index == 0 for piece in pieces)
    assert len(pieces) > 1
    assert "".join(piece.function.arguments for piece in pieces) == whole.function.arguments
    assert chunks[-1].finish_reason == "tool_calls"
    assert not any(chunk.delta.content for chunk in chunks)


def test_a_turn_with_calls_and_results_goes_on(client: openai.OpenAI):
    wanted: dict[str, Any] = {**WANTED, "tools": [TOOL], "max_tokens": 200}
    said = client.chat.completions.create(**wanted, tool_choice="required").choices[0].message
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": "nothing"} for call in said.tool_calls or ()
    ]
    # What came is sent back as it is, with all its empty fields.
    again = [*chat.HELLO, said.model_dump(), *results]
    found = client.chat.completions.create(**{**wanted, "messages": again}, tool_choice="none").choices[0]
    assert found.message.content
    assert found.message.tool_calls is None


def test_an_answer_is_held_to_its_schema(client: openai.OpenAI):
    schema = {
        "type": "object",
        "properties": {"mood": {"enum": ["good", "bad"]}, "sure": {"type": "boolean"}},
        "required": ["mood", "sure"],
        "additionalProperties": False,
    }
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "mood", "schema": schema}}
    found = client.chat.completions.create(**WANTED, n=3, temperature=1.5, response_format=wanted)
    for choice in found.choices:
        answer = json.loads(choice.message.content or "")
        assert choice.finish_reason == "stop"
        assert set(answer) == {"mood", "sure"}
        assert answer["mood"] in ("good", "bad")
        assert isinstance(answer["sure"], bool)


def test_log_probabilities_are_those_of_the_tokens_that_came(client: openai.OpenAI):
    wanted: dict[str, Any] = {
        **WANTED,
        "max_tokens": 8,
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": 3,
    }
    found = client.chat.completions.create(**wanted).choices[0]
    assert found.logprobs
    tokens = found.logprobs.content or []
    assert "".join(token.token for token in tokens) == found.message.content
    assert bytes(byte for token in tokens for byte in token.bytes or ()).decode() == found.message.content
    for token in tokens:
        assert [other.logprob for other in token.top_logprobs] == sorted(
            (other.logprob for other in token.top_logprobs), reverse=True
        )
        # The best was taken, and is a probability.
        assert token.top_logprobs[0].token == token.token
        assert (
            math.exp(token.logprob) <= sum(math.exp(other.logprob) for other in token.top_logprobs) <= 1.001
        )
    streamed = client.chat.completions.create(stream=True, **wanted)
    pieces = [chunk.choices[0].logprobs for chunk in streamed]
    assert [one for piece in pieces if piece for one in piece.content or ()] == tokens


def test_choices_differ_and_are_the_same_again(client: openai.OpenAI):
    wanted: dict[str, Any] = {**WANTED, "n": 3, "max_tokens": 10}
    found = client.chat.completions.create(**wanted)
    texts = [choice.message.content for choice in found.choices]
    assert len(set(texts)) == 3
    assert found.usage
    assert found.usage.completion_tokens == 30
    streamed = {0: "", 1: "", 2: ""}
    for chunk in client.chat.completions.create(stream=True, **wanted):
        for choice in chunk.choices:
            streamed[choice.index] += choice.delta.content or ""
    assert list(streamed.values()) == texts
    alone = client.chat.completions.create(**{**wanted, "n": 1}).choices[0]
    assert alone.message.content == texts[0]


def test_a_bias_bans_a_token_and_brings_another(lmx: Role):
    first = chat.answer(lmx.url, max_tokens=1, logprobs=True, top_logprobs=2)["choices"][0]
    best, second = (one["token"] for one in first["logprobs"]["content"][0]["top_logprobs"])
    (token,) = httpx.post(f"{lmx.url}/v1/tokenize", json={"prompt": best}).json()["tokens"]
    assert chat.text(lmx.url, max_tokens=1, logit_bias={str(token): -100}) == second
    (other,) = httpx.post(f"{lmx.url}/v1/tokenize", json={"prompt": second}).json()["tokens"]
    assert chat.text(lmx.url, max_tokens=3, logit_bias={str(other): 100}) == second * 3


def test_fields_that_cannot_change_an_answer_are_accepted(lmx: Role):
    accepted = {"store": True, "service_tier": "flex", "safety_identifier": "x", "prompt_cache_key": "y"}
    more = {"metadata": {"a": "b"}, "user": "me", "prompt_cache_retention": "24h", "modalities": ["text"]}
    assert chat.text(lmx.url, **accepted, **more) == chat.text(lmx.url)


def test_a_smaller_context_is_kept_to(lmx: Role):
    whole = chat.answer(lmx.url, max_tokens=50)["usage"]
    cut = chat.answer(lmx.url, max_tokens=50, num_ctx=whole["prompt_tokens"] + 5)
    assert (cut["usage"]["completion_tokens"], cut["choices"][0]["finish_reason"]) == (5, "length")
    refused = chat.post(lmx.url, num_ctx=whole["prompt_tokens"])
    assert refused.json()["error"]["code"] == "context_length_exceeded"
