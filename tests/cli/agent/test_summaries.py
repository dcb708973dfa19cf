"""What no longer fits is summed up: in steps that are told, at a cost that counts, always so that it fits."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.agent import context
from cli.agent.budget import Budget
from cli.agent.catalog import Catalog
from cli.agent.compaction import Crowded, compact
from cli.agent.context import view, weight
from cli.agent.loop import Chat, run
from cli.agent.model import Models
from cli.clients.lmx import LMX
from cli.protocol.events import AnyBody, ContextCompacted, TurnDone, TurnProgress, TurnStopped, Usage
from cli.protocol.failures import TOO_LONG, Failure
from cli.protocol.messages import Message, ToolCall
from tests.cli.agent.test_context import tokens
from tests.cli.agent.test_loop import yes
from tests.scripted import Answer, Scripted, Window, end, scripted, text

WINDOW = 4096


@pytest.fixture
async def server() -> AsyncIterator[Scripted]:
    """A model of 4,096 tokens that reads what it is sent, and answers in two."""
    async with scripted() as script:
        script.window = Window(WINDOW, tokens)
        script.improvise = lambda request: Answer([text("Notes."), end("stop", tokens(request))])
        yield script


def long_talk(rounds: int = 40) -> list[Message]:
    said = [Message(role="system", content="Be brief.")]
    for number in range(rounds):
        said += [
            Message(role="user", content=f"Question {number}: " + "what of this? " * 30),
            Message(role="assistant", content="It is so, and so. " * 30),
        ]
    return [*said, Message(role="user", content="And now?")]


@pytest.fixture
async def chat(server: Scripted) -> AsyncIterator[Chat]:
    client = LMX(server.url)
    yield Models(client).of("auto").chat
    await client.close()


async def turn(chat: Chat, **options: Any) -> list[AnyBody]:
    return [body async for body in run(long_talk(), chat=chat, catalog=Catalog({}), allow=yes, **options)]


async def test_how_far_a_summary_is_can_be_seen(chat: Chat):
    bodies = await turn(chat)
    steps = [body for body in bodies if isinstance(body, TurnProgress)]
    assert bodies[: len(steps) + 1][-1].type == "context.compacted"
    assert {step.work for step in steps} == {"summarising"}
    first = steps[: steps[0].total]
    assert [(step.done, step.total) for step in first] == [(n, len(first)) for n in range(len(first))]
    assert len(first) > 1


async def test_the_tokens_of_summaries_are_the_turns(server: Scripted, chat: Chat):
    bodies = await turn(chat)
    done = bodies[-1]
    assert isinstance(done, TurnDone)
    own = [tokens(request) for request in server.requests]
    assert len(own) > 2
    assert done.usage == Usage(prompt_tokens=sum(own), completion_tokens=2 * len(own))


async def test_summaries_use_up_the_turns_budget(server: Scripted, chat: Chat):
    def look(word: str) -> str:
        return word

    calling = json.dumps({"index": 0, "id": "c", "function": {"name": "look", "arguments": '{"word": "x"}'}})
    delta = f'{{"choices": [{{"index": 0, "delta": {{"tool_calls": [{calling}]}}, "finish_reason": null}}]}}'
    answer = [f"data: {delta}\n\n".encode(), end("tool_calls", 10)]
    notes = Answer([text("Notes."), end("stop", 2000)])
    server.improvise = lambda request: Answer(answer) if "tools" in request else notes
    given: dict[str, Any] = {"catalog": Catalog({"look": look}), "allow": yes, "budget": Budget(tokens=4000)}
    *_, last = [body async for body in run(long_talk(), chat=chat, **given)]
    assert isinstance(last, TurnStopped)
    assert last.reason == "budget"


async def test_a_piece_that_is_refused_as_too_long_is_halved(server: Scripted, chat: Chat):
    """The server counts what it sums up in another way than what it is asked."""
    refused: list[int] = []

    def answer(request: dict[str, Any]) -> Answer:
        count = tokens(request)
        if "You shorten the record" in request["messages"][0]["content"] and count > 1000:
            refused.append(count)
            return Window(1000, tokens).refuse(count)
        return Answer([text("Notes."), end("stop", count)])

    server.improvise = answer
    bodies = await turn(chat)
    (fact,) = [body for body in bodies if isinstance(body, ContextCompacted)]
    assert fact.made == "model"
    assert "Notes." in fact.summary
    assert 1 <= len(refused) <= 3


words = st.sampled_from(["ab ", "word and word ", "ünï ", "\U0001f600", "line\n"])
said = st.builds(lambda word, times: word * times, words, st.integers(0, 800))


@given(
    window=st.integers(1024, 32_768),
    density=st.floats(0.05, 1.0),
    rounds=st.lists(st.tuples(said, said, said), min_size=1, max_size=8),
    answer=said,
    broken=st.booleans(),
)
def test_what_comes_of_it_always_fits(
    window: int, density: float, rounds: Sequence[tuple[str, str, str]], answer: str, broken: bool
):
    messages = [Message(role="system", content="Be brief.")]
    for number, (asked, found, reply) in enumerate(rounds):
        call = ToolCall(id=str(number), name="read")
        messages += [
            Message(role="user", content=asked),
            Message(role="assistant", content="", calls=(call,)),
            Message(role="tool", content=found, call=call.id),
            Message(role="assistant", content=reply),
        ]
    messages.append(Message(role="user", content="And now?"))
    limits = context.Budget(window)

    async def size(told: Sequence[Message]) -> int:
        return math.ceil(weight(told) * density)

    async def ask(task: str, part: str, length: int) -> str:
        if broken:
            raise Failure("upstream_error", "It broke.")
        if (context.bytes_of(task) + context.bytes_of(part)) * density > limits.prompt:
            raise Failure(TOO_LONG, "The piece is too long.")
        return answer

    async def shortened() -> ContextCompacted:
        before = await size(messages)
        crowded = Crowded(messages, (), None, limits, before, True, density)
        *_, fact = [step async for step in compact(crowded, size, ask)]
        assert isinstance(fact, ContextCompacted)
        return fact

    fact = asyncio.run(shortened())
    told = view(messages, fact)
    assert math.ceil(weight(told) * density) == fact.after <= limits.prompt
    assert told[-1].content.endswith("And now?")
