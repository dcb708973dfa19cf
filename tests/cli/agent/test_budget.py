"""A turn ends when what it may use is used up, and says so; every call that began has a result."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from cli.agent.budget import Budget
from cli.agent.execute import Verdict
from cli.protocol.events import TextDelta, TextDone, ToolDone, ToolStarted, Usage
from cli.protocol.messages import Finish, Piece, ToolCall
from tests.cli.agent.test_loop import TOOLS, Model, played, wants


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
    bodies = await played(model, tools={**TOOLS, "wait": wait}, budget=Budget(seconds=0.5))
    waited, added, last = bodies[-3:]
    assert (waited.ok, added.ok, added.result) == (False, True, "2")
    assert "the time that it may take" in waited.result
    assert last.reason == "budget"


async def no(call: ToolCall) -> Verdict:
    return Verdict(False, "A rule denies it.")


async def test_a_turn_in_which_nothing_is_allowed_ends_and_says_why():
    def count(n: int) -> int:
        return n

    bodies = await played(endless(), tools={"count": count}, allow=no)
    last = bodies[-1]
    assert (last.type, last.reason, "A rule denies it." in last.message) == (
        "turn.stopped",
        "permission",
        True,
    )
    assert [body.ok for body in bodies if isinstance(body, ToolDone)] == [False] * 3


async def test_a_turn_goes_on_when_something_is_allowed_between_what_is_not():
    def count(n: int) -> int:
        return n

    async def second(call: ToolCall) -> Verdict:
        return Verdict(int(call.id) % 2 == 1, "Not this one.")

    bodies = await played(endless(), tools={"count": count}, allow=second, budget=Budget(rounds=9))
    assert (bodies[-1].type, bodies[-1].reason) == ("turn.stopped", "max_turns")


async def test_the_time_in_which_somebody_is_asked_is_not_the_turns():
    async def thinks(call: ToolCall) -> Verdict:
        await asyncio.sleep(1.2)  # what is measured here is time itself
        return Verdict(True)

    model = Model([wants("1", "add", '{"a": 1}')], ["done"])
    bodies = await played(model, allow=thinks, budget=Budget(seconds=1))
    assert (bodies[-1].type, bodies[-1].seconds < 1) == ("turn.done", True)
