"""The agent loop, driven by a scripted model and a small table of plain functions."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from itertools import pairwise
from typing import Any

import pytest

from cli.agent.catalog import Catalog
from cli.agent.execute import AT_ONCE, Verdict
from cli.agent.loop import run
from cli.protocol.events import (
    AnyBody,
    ContextCompacted,
    ReasoningDelta,
    ReasoningDone,
    TextDelta,
    TextDone,
    ToolDone,
    ToolStarted,
    TurnDone,
    TurnProgress,
    Usage,
)
from cli.protocol.failures import Failure
from cli.protocol.messages import Finish, Message, Piece, Progress, Reasoning, ToolCall

ASKED = [Message(role="user", content="go")]


class Model:
    """Gives its answers one after the other, and keeps what it was asked."""

    def __init__(self, *answers: Sequence[Piece]) -> None:
        self.answers = list(answers)
        self.asked: list[list[Message]] = []
        self.tools: list[Sequence[dict[str, Any]]] = []
        self.options: list[dict[str, Any]] = []
        self.closed = False

    async def chat(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], **options: Any
    ) -> AsyncGenerator[Piece, None]:
        self.asked.append(list(messages))
        self.tools.append(tools)
        self.options.append(options)
        try:
            for piece in self.answers.pop(0):
                yield piece
                await asyncio.sleep(0)
        finally:
            self.closed = True


def add(a: int, b: int = 1) -> int:
    """Add two numbers."""
    return a + b


async def shout(words: str) -> str:
    """Say it loudly."""
    return words.upper()


def fail() -> None:
    raise ValueError("no luck")


TOOLS = {"add": add, "shout": shout, "fail": fail}


def wants(id: str, name: str, arguments: str = "{}") -> ToolCall:
    return ToolCall(id=id, name=name, arguments=arguments)


async def yes(call: ToolCall) -> Verdict:
    return Verdict(True)


async def played(model: Model, **options: Any) -> list[AnyBody]:
    catalog = Catalog(options.pop("tools", TOOLS), options.pop("more", None), options.pop("schemas", None))
    given = {"allow": yes, **options}
    return [body async for body in run(ASKED, chat=model.chat, catalog=catalog, **given)]


async def test_an_answer_without_tools_is_one_round():
    usage = Usage(prompt_tokens=3, completion_tokens=2, cached_tokens=1)
    model = Model(["Hel", "lo.", Finish(reason="length", usage=usage)])
    *bodies, done = await played(model)
    assert bodies == [TextDelta(text="Hel"), TextDelta(text="lo."), TextDone(text="Hello.")]
    assert isinstance(done, TurnDone)
    assert (done.text, done.finish_reason, done.usage) == ("Hello.", "length", usage)
    assert done.seconds >= 0


@pytest.mark.parametrize(
    ("pieces", "said"),
    [
        ([Finish(reason="stop")], "answered nothing"),
        ([" \n", Finish(reason="stop")], "answered nothing"),
        ([Reasoning(text="Hm"), Finish(reason="length")], "limit of tokens before its answer began"),
    ],
)
async def test_a_turn_in_which_nothing_was_said_or_done_has_failed(pieces: list[Piece], said: str):
    with pytest.raises(Failure, match=said) as caught:
        await played(Model(pieces))
    assert caught.value.event().hint


async def test_work_without_a_closing_word_is_done():
    *_, done = await played(Model([wants("1", "add", '{"a": 1}')], [Finish(reason="stop")]))
    assert isinstance(done, TurnDone)
    assert done.text == ""


async def test_what_it_thinks_is_shown_and_not_sent_back():
    thinking = [Progress(done=5, total=9), Reasoning(text="Add "), Reasoning(text="them.")]
    model = Model([*thinking, wants("1", "add", '{"a": 2}'), Finish(reason="tool_calls")], ["3"])
    bodies = await played(model)
    assert bodies[:4] == [
        TurnProgress(done=5, total=9),
        ReasoningDelta(text="Add "),
        ReasoningDelta(text="them."),
        ReasoningDone(text="Add them."),
    ]
    assert [message.content for message in model.asked[1]] == ["go", "", "3"]


async def test_it_runs_tools_and_asks_again_until_none_is_called():
    count = Finish(reason="tool_calls", usage=Usage(prompt_tokens=1, completion_tokens=1))
    model = Model(
        ["Let me see.", wants("1", "add", '{"a": 2, "b": 3}'), wants("2", "shout", '{"words":"hi"}'), count],
        [wants("3", "add", '{"a": 5}'), count],
        ["6", count],
    )
    bodies = await played(model)
    assert [body.type for body in bodies] == [
        "text.delta", "text.done", "tool.started", "tool.started", "tool.done", "tool.done",
        "tool.started", "tool.done",
        "text.delta", "text.done", "turn.done",
    ]  # fmt: skip
    assert [(b.call, b.ok, b.result) for b in bodies if isinstance(b, ToolDone)] == [
        ("1", True, "5"), ("2", True, "HI"), ("3", True, "6"),
    ]  # fmt: skip
    assert bodies[-1].usage == Usage(prompt_tokens=3, completion_tokens=3)
    assert [message.role for message in model.asked[2]] == [
        "user", "assistant", "tool", "tool", "assistant", "tool",
    ]  # fmt: skip
    assert all(later[: len(earlier)] == earlier for earlier, later in pairwise(model.asked))


async def test_tools_run_at_once_and_answer_in_the_order_of_the_calls():
    second_ran = asyncio.Event()

    async def first() -> str:
        await second_ran.wait()
        return "first"

    async def second() -> str:
        second_ran.set()
        return "second"

    model = Model([wants("1", "first"), wants("2", "second")], ["done"])
    bodies = await played(model, tools={"first": first, "second": second})
    assert [body.result for body in bodies if isinstance(body, ToolDone)] == ["first", "second"]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (wants("1", "delete"), "There is no tool 'delete'. There are: add, shout, fail."),
        (wants("1", "add", "nonsense"), "The arguments of add are no JSON object."),
        (wants("1", "add", "[1]"), "The arguments of add are no JSON object."),
        (wants("1", "add", '{"a": "two"}'), "a: Input should be a valid integer"),
        (wants("1", "add", '{"a": 1, "c": 2}'), "c: there is no such parameter."),
        (wants("1", "add", "{}"), 'a: it is missing. Its parameters, as JSON Schema: {"additionalProperties'),
        (wants("1", "fail"), "ValueError: no luck"),
    ],
)
async def test_what_goes_wrong_is_told_to_the_model(call: ToolCall, said: str):
    model = Model([call], *[["I will not be told."]] * (call.name == "add"), ["I see."])
    bodies = await played(model)
    (result,) = (body for body in bodies if isinstance(body, ToolDone))
    assert not result.ok
    assert said in result.result
    assert model.asked[-1][-1] == Message(role="tool", content=result.result, call="1")
    assert bodies[-1].text == "I see."


async def test_a_result_that_is_no_utf_8_is_told_all_the_same():
    def names() -> str:
        return "caf\udce9.txt"  # as Python has a file's name that is no UTF-8

    bodies = await played(Model([wants("1", "names")], ["ok"]), tools={"names": names})
    (done,) = (body for body in bodies if isinstance(body, ToolDone))
    assert (done.ok, done.result) == (True, "caf?.txt")
    done.model_dump_json()


async def test_a_call_that_is_not_allowed_does_not_run():
    ran = []

    def tool() -> None:
        ran.append(1)

    async def no(call: ToolCall) -> Verdict:
        return Verdict(False, "The user did not allow this call.")

    bodies = await played(Model([wants("1", "tool")], ["ok"]), tools={"tool": tool}, allow=no)
    (result,) = (body for body in bodies if isinstance(body, ToolDone))
    assert (result.ok, ran) == (False, [])


async def test_closing_it_closes_the_model():
    model = Model(["a", "b", "c"])
    async with aclosing(run(ASKED, chat=model.chat, catalog=Catalog({}), allow=yes)) as bodies:
        assert await anext(bodies) == TextDelta(text="a")
    assert model.closed


async def test_closing_it_stops_its_tools():
    started, stopped = asyncio.Event(), asyncio.Event()

    async def endless() -> None:
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


async def test_what_the_window_made_of_the_second_writing_is_a_fact_as_well():
    """A request after a restart is made from the facts: one that is missing would make another request."""
    fact = ContextCompacted(room=9, messages=1, before=9, after=5, window=9, exact=True)
    model = Model([wants("1", "add", "{}")], [fact, wants("2", "add", '{"a": 1}')], ["2"])
    bodies = await played(model)
    assert [type(body) for body in bodies] == [
        ContextCompacted, ToolStarted, ToolDone, TextDelta, TextDone, TurnDone,
    ]  # fmt: skip


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
