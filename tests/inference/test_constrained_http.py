"""Formats and tool calls over HTTP: what comes is valid, or the request is refused by its field."""

import json
from typing import Any

import jsonschema_rs
import pytest

from tests.inference import chat
from tests.processes import Role

PLACE = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 9}, "kind": {"enum": ["town", "river"]}},
    "required": ["name", "kind"],
    "additionalProperties": False,
}


def tool(name: str, parameters: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters, **fields}}


TOOLS = [tool("find", PLACE), tool("now", {"type": "object", "additionalProperties": False})]


def json_schema(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "place", "schema": schema, "strict": True}}


def choice(lmx: Role, **fields: Any) -> dict[str, Any]:
    (found,) = chat.answer(lmx.url, max_tokens=300, **fields)["choices"]
    return dict(found)


def test_an_answer_is_valid_by_the_schema_in_every_choice(lmx: Role):
    wanted = {"response_format": json_schema(PLACE), "n": 3, "temperature": 1, "seed": 7, "max_tokens": 300}
    choices = chat.answer(lmx.url, **wanted)["choices"]
    assert [found["finish_reason"] for found in choices] == ["stop"] * 3
    for found in choices:
        jsonschema_rs.Draft202012Validator(PLACE).validate(json.loads(found["message"]["content"]))
    assert len({found["message"]["content"] for found in choices}) > 1


def test_a_streamed_answer_is_the_same_as_the_whole_one(lmx: Role):
    whole = choice(lmx, response_format=json_schema(PLACE))["message"]["content"]
    with chat.streaming(lmx.url, response_format=json_schema(PLACE), max_tokens=300) as found:
        assert chat.content(list(found)) == whole


def test_any_json_begins_as_an_object_and_is_cut_at_the_limit(lmx: Role):
    (found,) = chat.answer(lmx.url, response_format={"type": "json_object"})["choices"]
    assert found["message"]["content"].startswith("{")
    assert found["finish_reason"] == "length"


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ("required", {"find", "now"}),
        ({"type": "function", "function": {"name": "find"}}, {"find"}),
        ({"type": "function", "function": {"name": "now"}}, {"now"}),
    ],
)
def test_a_call_that_is_asked_for_comes(lmx: Role, wanted: Any, names: set[str]):
    found = choice(lmx, tools=TOOLS, tool_choice=wanted, parallel_tool_calls=False)
    assert found["finish_reason"] == "tool_calls"
    assert not found["message"].get("content")
    (call,) = found["message"]["tool_calls"]
    assert call["function"]["name"] in names
    schemas = {each["function"]["name"]: each["function"]["parameters"] for each in TOOLS}
    given = json.loads(call["function"]["arguments"])
    jsonschema_rs.Draft202012Validator(schemas[call["function"]["name"]]).validate(given)


def test_the_result_of_a_call_goes_back_and_an_answer_comes(lmx: Role):
    called = choice(lmx, tools=TOOLS, tool_choice={"type": "function", "function": {"name": "now"}})[
        "message"
    ]
    (call,) = called["tool_calls"]
    result = {"role": "tool", "tool_call_id": call["id"], "content": "12:00"}
    found = choice(
        lmx, messages=[*chat.HELLO, called, result], tools=TOOLS, response_format=json_schema({"const": 12}),
        tool_choice="none",
    )  # fmt: skip
    assert (found["message"]["content"], found["finish_reason"]) == ("12", "stop")


def test_a_model_that_may_call_nothing_sees_no_tools(lmx: Role):
    free, bare = chat.answer(lmx.url, tools=TOOLS), chat.answer(lmx.url)
    none = chat.answer(lmx.url, tools=TOOLS, tool_choice="none")
    assert none["usage"]["prompt_tokens"] == bare["usage"]["prompt_tokens"] < free["usage"]["prompt_tokens"]
    assert none["choices"][0]["message"]["content"] == bare["choices"][0]["message"]["content"]


FORMAT = "response_format.json_schema.schema"
ODD: dict[str, Any] = {"properties": {"a": {"not": {}}}}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"response_format": json_schema({"type": "array", "uniqueItems": True})}, FORMAT),
        ({"response_format": json_schema({"$ref": "https://example.com/a"})}, FORMAT),
        ({"tools": [tool("odd", ODD, strict=True)]}, "tools.0.function.parameters"),
        ({"tools": [*TOOLS, tool("odd", ODD)], "tool_choice": "required"}, "tools.2.function.parameters"),
    ],
)
def test_what_cannot_be_held_is_refused_by_its_field(lmx: Role, fields: dict[str, Any], field: str):
    response = chat.post(lmx.url, **fields)
    assert response.status_code == 400, response.text
    assert response.json()["error"]["param"] == field
    assert chat.text(lmx.url)


def test_an_answer_that_cannot_be_held_to_its_end_is_an_error(lmx: Role):
    schema = {"type": "string", "pattern": "^(.{1,200}a){200}$"}
    response = chat.post(lmx.url, response_format=json_schema(schema), max_tokens=300)
    assert response.status_code == 400, response.text
    assert response.json()["error"]["code"] == "constraint_too_complex"


def test_neighbours_without_a_constraint_say_what_they_say_alone(lmx: Role):
    alone = chat.text(lmx.url)
    with chat.streaming(lmx.url, response_format=json_schema(PLACE), max_tokens=300) as found:
        next(found)
        assert chat.text(lmx.url) == alone
        assert chat.content(list(found)).endswith("}")
