"""A turn ends when what it may use is used up, and says so; every call that began has a result."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from cli.agent.budget import Budget
from cli.protocol.events import TextDelta, TextDone, ToolDone, ToolStarted, Usage
from cli.protocol.messages import Finish, Piece
from tests.cli.agent.test_loop import TOOLS, Model, played, wants


def endless() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    task = asyncio.create_task(played(Model([wants("1", "endless")]), tools={"endless": endless}))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stopped.is_set()


async def test_calls_are_announced_before_they_run():
    bodies = await played(Model([wants("1", "add", '{"a": 1}')], ["2"]))
    assert bodies[0] == ToolStarted(call="1", name="add", arguments={"a": 1})


async def test_arguments_that_are_nearly_right_run_as_they_were_meant():
    model = Model([wants("1", "add", "{'a': '2', b: 3.0,}")], ["5"])
    bodies = await played(model)
    assert bodies[:2] == [
        ToolStarted(call="1", name="add", arguments={"a": 2, "b": 3}),
        ToolDone(call="1", name="add", ok=True, result="5"),
    ]
    assert model.asked[1][-2].calls == (wants("1", "add", '{"a": 2, "b": 3}'),)


async def test_a_call_that_does_not_fit_is_written_once_more_under_its_schema():
    count = Finish(reason="tool_calls", usage=Usage(prompt_tokens=10, completion_tokens=5))
    model = Model(
        [wants("1", "add", '{"number": 1}'), count],
        [wants("x", "add", '{"a": 1}'), count],
        ["2", count],
    )
    bodies = await played(model)
    assert bodies[0] == ToolStarted(call="1", name="add", arguments={"a": 1})
    choice = {"type": "function", "function": {"name": "add"}}
    assert model.options == [{}, {"tool_choice": choice}, {}]
    assert model.asked[1] == model.asked[0]
    assert model.tools[1] == model.tools[0]
    assert bodies[-1].usage == Usage(prompt_tokens=30, completion_tokens=15)


async def test_a_server_that_cannot_be_held_to_a_schema_is_not_asked_to_again():
    class Refuses(Model):
        async def chat(self, *request: Any, **options: Any) -> AsyncGenerator[Piece, None]:
            if options:
                self.options.append(options)
                raise Failure("upstream_refused", "tool_choice is not supported")
            async for piece in super().chat(*request):
                yield piece

    model = Refuses([wants("1", "add")], [wants("2", "add", '{"b": 1}')], ["I give up."])
    bodies = await played(model)
    assert [body.ok for body in bodies if isinstance(body, ToolDone)] == [False, False]
    assert [bool(options) for options in model.options] == [False, True, False, False]


async def test_a_call_that_was_cut_off_is_neither_guessed_nor_run():
    ran = []

    def write(text: str) -> None:
        ran.append(text)

    cut = Finish(reason="length")
    model = Model([wants("1", "write", '{"text": "the beginning of'), cut], ["I see."])
    bodies = await played(model, tools={"write": write})
    (result,) = (body for body in bodies if isinstance(body, ToolDone))
    assert (result.ok, ran) == (False, [])
    assert "cut off" in result.result


async def test_a_call_that_came_as_text_runs_and_is_not_shown():
    said = 'Let me see.\n<tool_call>\n{"name": "add", "arguments": {"a": 2}}\n</tool_call>'
    model = Model([*said], ["3"])
    bodies = await played(model)
    shown = "".join(body.text for body in bodies[: bodies.index(TextDone(text="Let me see."))])
    assert shown == "Let me see."
    assert [body for body in bodies if isinstance(body, ToolStarted)] == [
        ToolStarted(call="call_0", name="add", arguments={"a": 2})
    ]
    assert model.asked[1][-2:] == [
        Message(role="assistant", content="Let me see.", calls=(wants("call_0", "add", '{"a": 2}'),)),
        Message(role="tool", content="3", call="call_0"),
    ]


async def test_text_beside_a_native_call_is_text():
    said = '<tool_call>{"name": "add", "arguments": {"a": 2}}</tool_call>'
    bodies = await played(Model([said, wants("1", "shout", '{"words": "hi"}')], ["ok"]))
    assert bodies[1] == TextDone(text=said)
    assert [body.name for body in bodies if isinstance(body, ToolStarted)] == ["shout"]


async def test_no_more_than_eight_tools_run_at_once():
    running, most, full = 0, 0, asyncio.Event()

    async def slow(n: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == AT_ONCE:
            full.set()
        await full.wait()
        running -= 1
        return n

    calls = [wants(str(n), "slow", f'{{"n": {n}}}') for n in range(20)]
    bodies = await played(Model(calls, ["ok"]), tools={"slow": slow})
    assert [body.result for body in bodies if isinstance(body, ToolDone)] == [str(n) for n in range(20)]
    assert most == AT_ONCE


def secret(word: str) -> str:
    """Translate a word into the secret language."""
    return word[::-1]


@pytest.mark.parametrize("name", ["call_tool", "secret", "functions.secret"])
async def test_a_tool_that_was_searched_for_is_callable_without_a_change_of_the_list(name: str):
    inner = '{"name": "secret", "arguments": {"word": "abc"}}'
    model = Model(
        [wants("1", "tool_search", '{"query": "translate words"}')],
        [wants("2", name, inner if name == "call_tool" else '{"word": "abc"}')],
        ["cba"],
    )
    asked = []

    async def allow(call: ToolCall) -> bool:
        asked.append((call.name, call.arguments))
        return True

    bodies = await played(model, more={"secret": secret}, allow=allow)
    found, called = (body for body in bodies if isinstance(body, ToolDone))
    assert '"description": "Translate a word into the secret language."' in found.result
    assert (called.name, called.ok, called.result) == ("secret", True, "cba")
    assert asked == [("secret", '{"word": "abc"}')]
    names = [tool["function"]["name"] for tool in model.tools[0]]
    assert names == ["add", "shout", "fail", "tool_search", "call_tool"]
    assert model.tools[0] == model.tools[1] == model.tools[2]


async def test_without_more_tools_there_is_nothing_to_search():
    model = Model(["ok"])
    await played(model)
    assert [tool["function"]["name"] for tool in model.tools[0]] == ["add", "shout", "fail"]


def endless(name: str = "count") -> Model:
    """A model that calls a tool for ever, each time with another number."""
    usage = Usage(prompt_tokens=10, completion_tokens=1)
    each = Finish(reason="tool_calls", usage=usage)
    return Model(*([wants(str(n), name, f'{{"n": {n}}}'), each] for n in range(1000)))


@pytest.mark.parametrize(
    ("budget", "reason", "ran"),
    [
        (Budget(rounds=7), "max_turns", 7),
        (Budget(calls=5), "budget", 5),
        (Budget(tokens=40), "budget", 3),
        (Budget(seconds=0), "budget", 0),
        (Budget(), "max_turns", 100),
    ],
)
async def test_a_turn_ends_with_its_budget(budget: Budget, reason: str, ran: int):
    def count(n: int) -> int:
        return n

    bodies = await played(endless(), tools={"count": count}, budget=budget)
    last = bodies[-1]
    assert (last.type, last.reason) == ("turn.stopped", reason)
    assert last.message
    assert last.hint
    assert sum(isinstance(body, ToolDone) for body in bodies) == ran
    assert sum(isinstance(body, ToolStarted) for body in bodies) == ran


async def test_a_model_that_stays_silent_ends_with_the_turns_time():
    class Silent(Model):
        async def chat(self, *request: Any, **options: Any) -> AsyncGenerator[Piece, None]:
            yield "Hm"
            await asyncio.Event().wait()

    bodies = await played(Silent(), budget=Budget(seconds=0.05))
    assert bodies[:2] == [TextDelta(text="Hm"), TextDone(text="Hm")]
    assert (bodies[-1].type, bodies[-1].reason) == ("turn.stopped", "budget")


async def test_a_tool_that_does_not_end_has_a_result_when_the_time_is_over():
    async def wait() -> None:
        await asyncio.Event().wait()

    model = Model([wants("1", "wait"), wants("2", "add", '{"a": 1}')])
    bodies = await played(model, tools={**TOOLS, "wait": wait}, budget=Budget(seconds=0.05))
    waited, added, last = bodies[-3:]
    assert (waited.ok, added.ok, added.result) == (False, True, "2")
    assert "the time that it may take" in waited.result
    assert last.reason == "budget"
