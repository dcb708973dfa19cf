"""A model that goes in circles is told so, and then stopped; one that works is left alone."""

from itertools import count, cycle
from typing import Any

import pytest

from cli.agent.repetition import AGAIN, STALE
from cli.protocol.events import AnyBody, ToolDone
from cli.protocol.messages import ToolCall
from tests.cli.agent.test_loop import Model, played


def read(path: str) -> str:
    """Always the same file."""
    return f"what stands in {path}"


def wants(number: int, name: str, path: str) -> ToolCall:
    return ToolCall(id=str(number), name=name, arguments=f'{{"path": "{path}"}}')


async def calling(*rounds: str, tools: Any = None, end: bool = True) -> list[AnyBody]:
    """A turn whose model calls `read` with these paths, several in a round divided by spaces."""
    number = count()
    answers = [[wants(next(number), "read", path) for path in each.split()] for each in rounds]
    return await played(Model(*answers, *[["done"]] * end), tools=tools or {"read": read})


def results(bodies: list[AnyBody]) -> list[str]:
    return [body.result for body in bodies if isinstance(body, ToolDone)]


@pytest.mark.parametrize(
    ("rounds", "ran"),
    [
        ("a a a a a a", 3),
        ("x y a a a", 5),
        ("a b a b a b", 4),
        ("x a b a b", 5),
        ("a b c a b c a b c a", 9),
    ],
)
async def test_the_same_again_and_again_is_stopped(rounds: str, ran: int):
    bodies = await calling(*rounds.split(), end=False)
    last = bodies[-1]
    assert (last.type, last.reason) == ("turn.stopped", "loop")
    assert "read" in last.message
    assert last.hint
    assert len(results(bodies)) == ran


async def test_several_calls_a_round_make_a_loop_as_well():
    bodies = await calling("a b", "a b", "a b", end=False)
    assert (bodies[-1].type, bodies[-1].reason) == ("turn.stopped", "loop")


async def test_the_model_is_told_before_it_is_stopped():
    bodies = await calling("a", "b", "a", "c")
    first, other, again, new = results(bodies)
    assert (first, other, new) == ("what stands in a", "what stands in b", "what stands in c")
    assert again == first + AGAIN
    assert bodies[-1].type == "turn.done"


@pytest.mark.parametrize(
    "rounds", ["a b c d e f g h i j", "a b a c a d a e a f", "a a b b c c", "a b b a b b c"]
)
async def test_work_that_brings_something_new_goes_on(rounds: str):
    bodies = await calling(*rounds.split())
    assert bodies[-1].type == "turn.done"
    assert len(results(bodies)) == len(rounds.split())


async def test_the_same_call_with_another_result_is_no_loop():
    states = iter(["waiting", "running", "running at 50 %", "done"] * 10 + ["end"])
    numbered = (f"{n} {state}" for n, state in enumerate(states))

    def read(path: str) -> str:
        return next(numbered)

    bodies = await calling(*["job"] * 30, tools={"read": read})
    assert bodies[-1].type == "turn.done"


async def test_rounds_that_bring_nothing_new_are_stopped():
    order = cycle(["a", "b", "c", "d", "a", "c", "b", "d", "b", "a"])
    bodies = await calling(*(next(order) for _ in range(40)), end=False)
    assert (bodies[-1].type, bodies[-1].reason) == ("turn.stopped", "loop")
    assert "nothing new" in bodies[-1].message
    assert len(results(bodies)) == 4 + STALE


async def test_trying_what_fails_in_the_same_way_is_stopped():
    def read(path: str) -> str:
        raise PermissionError("no")

    bodies = await calling(*"abcdefghijklmnop", tools={"read": read}, end=False)
    assert (bodies[-1].type, bodies[-1].reason) == ("turn.stopped", "loop")
    assert len(results(bodies)) == 1 + STALE
