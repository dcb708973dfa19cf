"""Random parameters: every request gets a right answer or a 4xx that names its field."""

import json
from typing import Any

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.inference import chat
from tests.processes import Role

TOOL = {
    "type": "function",
    "function": {
        "name": "look",
        "parameters": {
            "type": "object",
            "properties": {"where": {"enum": ["here", "there"]}},
            "required": ["where"],
            "additionalProperties": False,
        },
    },
}
SCHEMA = {
    "type": "object",
    "properties": {"yes": {"type": "boolean"}},
    "required": ["yes"],
    "additionalProperties": False,
}
ODD = st.sampled_from([None, True, "5", -1, 0, 1e308, 10**30, [], {}, [None], "\ud800", "", float("nan")])


def number(low: float, high: float) -> st.SearchStrategy[Any]:
    """Mostly within the range, and its edges, now and then beyond."""
    within = st.floats(low, high, allow_nan=False)
    return st.one_of(within, within, st.sampled_from([low, high]), st.floats())


def whole(low: int, high: int) -> st.SearchStrategy[Any]:
    within = st.integers(low, high)
    return st.one_of(within, within, st.sampled_from([low, high]), st.integers())


def or_odd(likely: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.integers(0, 11).flatmap(lambda dice: ODD if dice == 0 else likely)


FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "temperature": number(0, 2),
    "top_p": number(0.01, 1),
    "top_k": whole(0, 5000),
    "min_p": number(0, 1),
    "repetition_penalty": number(0.1, 3),
    "presence_penalty": number(-2, 2),
    "frequency_penalty": number(-2, 2),
    "logit_bias": st.dictionaries(st.integers(-1, 5000).map(str), number(-100, 100), max_size=4),
    "seed": whole(-(2**63), 2**63),
    "n": whole(1, 4),
    "stop": st.one_of(st.text(max_size=3), st.lists(st.text(max_size=3), max_size=4)),
    "logprobs": st.booleans(),
    "top_logprobs": whole(0, 20),
    "num_ctx": whole(1, 9000),
    "parallel_tool_calls": st.booleans(),
    "tools": st.lists(st.just(TOOL), max_size=2),
    "tool_choice": st.sampled_from(
        ["auto", "none", "required", {"type": "function", "function": {"name": "look"}}]
    ),
    "response_format": st.sampled_from(
        [
            {"type": "text"},
            {"type": "json_object"},
            {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}},
        ]
    ),
    "reasoning_effort": st.sampled_from(["none", "low", "high", "endless"]),
    "thinking_budget": whole(0, 10),
    "chat_template_kwargs": st.dictionaries(st.sampled_from(["a", "messages", "bos_token", "-"]), ODD),
    "messages": st.lists(
        st.fixed_dictionaries(
            {"role": st.sampled_from(["system", "user", "assistant", "tool"]), "content": st.text()}
        ),
        max_size=4,
    ),
    "user": ODD,
    "store": ODD,
    "mood": ODD,
}
BODIES = st.sets(st.sampled_from(sorted(FIELDS)), max_size=7).flatmap(
    lambda names: st.fixed_dictionaries({name: or_odd(FIELDS[name]) for name in sorted(names)})
)


def check(body: dict[str, Any], answered: dict[str, Any]) -> None:
    """What holds for any answer, whatever it says."""
    choices, limit = answered["choices"], body["max_tokens"]
    assert [choice["index"] for choice in choices] == list(range(body.get("n") or 1))
    assert answered["usage"]["completion_tokens"] <= limit * len(choices)
    stops = [body["stop"]] if isinstance(body.get("stop"), str) else body.get("stop") or []
    for choice in choices:
        message = choice["message"]
        assert not any(stop in (message["content"] or "") for stop in stops)
        assert choice["finish_reason"] in ("stop", "length", "tool_calls")
        assert (choice["logprobs"] is not None) == bool(body.get("logprobs"))
        if choice["finish_reason"] == "tool_calls":
            for call in message["tool_calls"]:
                assert json.loads(call["function"]["arguments"])["where"] in ("here", "there")


@settings(
    max_examples=150, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
@given(body=BODIES, max_tokens=st.integers(1, 6))
def test_random_parameters_get_right_answers_or_are_refused_by_name(
    lmx: Role, body: dict[str, Any], max_tokens: int
):
    wanted = {"messages": chat.HELLO, "max_tokens": max_tokens, **body}
    response = httpx.post(f"{lmx.url}/v1/chat/completions", content=json.dumps(wanted), timeout=60)
    answered = response.json()
    if response.status_code == 200:
        check(wanted, answered)
    else:
        error = answered["error"]
        assert (response.status_code, error["type"]) == (400, "invalid_request_error"), error
        assert error["param"].split(".")[0] in wanted, error
        assert error["message"]


def test_the_server_still_says_the_same_after_all_that(lmx: Role):
    assert len(chat.text(lmx.url, max_tokens=20).split()) > 10
    assert chat.idle(lmx.url)
