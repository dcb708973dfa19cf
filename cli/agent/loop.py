"""The agent loop: ask the model, run the tools it calls, and again, until it calls none.

It decides and yields; whoever pulls it stores and shows. Closing it stops the model and its tools.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Protocol

from cli.agent import history as conversation
from cli.agent.budget import Budget, Spent
from cli.agent.catalog import Catalog
from cli.agent.execute import Allow, Ready, ready, results
from cli.agent.repetition import Repetition
from cli.agent.rescue import Sieve
from cli.agent.steering import Steering
from cli.protocol.events import (
    AnyBody,
    ContextCompacted,
    ContextWarning,
    ReasoningDelta,
    ReasoningDone,
    SteerTaken,
    TextDelta,
    TextDone,
    TurnDone,
    TurnProgress,
    Usage,
)
from cli.protocol.failures import Failure
from cli.protocol.messages import Finish, Message, Piece, Progress, Reasoning, ToolCall


class Chat(Protocol):
    """Streams one answer; the one option given is OpenAI's `tool_choice`, which a server may leave aside."""

    def __call__(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], **options: Any
    ) -> AsyncGenerator[Piece, None]: ...


@dataclass
class Answer:
    """One message of the model, as it grows."""

    text: list[str] = field(default_factory=list)
    # The thought under way.
    reasoning: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    finish: Finish = field(default_factory=lambda: Finish(reason="stop"))
    # Told once the message is whole: a fact in its midst would end what of it is kept.
    facts: list[ContextWarning | ContextCompacted] = field(default_factory=list)
    # Whether the turn's time was over before the answer was.
    late: bool = False

    def thought(self) -> list[AnyBody]:
        """The thought that now is over, if there is one."""
        whole, self.reasoning = "".join(self.reasoning), []
        return [ReasoningDone(text=whole)] if whole else []

    @property
    def said(self) -> bool:
        """Whether there are words in it; a few blanks are none."""
        return any(map(str.strip, self.text))

    @property
    def cut(self) -> bool:
        return self.late or self.finish.reason == "length"

    def message(self, calls: Sequence[Ready]) -> Message:
        """As history will have it later: the same words, so that a server's kept prefix goes on holding."""
        return Message(role="assistant", content="".join(self.text), calls=tuple(each.call for each in calls))


class Turn:
    """What one turn works with, and what it has used of it."""

    def __init__(self, messages: Sequence[Message], chat: Chat, catalog: Catalog, budget: Budget) -> None:
        self.history = list(messages)
        self.chat = chat
        self.catalog = catalog
        self.spent = Spent(budget)
        self.repetition = Repetition()
        # A server that left `tool_choice` aside once is not asked again.
        self.constrains = True


async def run(
    messages: Sequence[Message],
    *,
    chat: Chat,
    catalog: Catalog,
    allow: Allow,
    budget: Budget | None = None,
    steering: Steering | None = None,
) -> AsyncGenerator[AnyBody, None]:
    """One turn: yields its events up to TurnDone or TurnStopped. Raises Failure, or what `chat` raises."""
    turn = Turn(messages, chat, catalog, budget or Budget())
    steering = steering or Steering()
    while True:
        for steer in await steering.take():
            conversation.say(turn.history, steer.text)
            yield SteerTaken(id=steer.id)
        answer = Answer()
        async with aclosing(listen(answer, turn)) as bodies:
            async for body in bodies:
                yield body
        calls = await landed(answer, turn)
        for fact in answer.facts:
            yield fact
        if calls or answer.said:
            turn.history.append(answer.message(calls))
        if not calls and not answer.late and await steering.close():
            yield ending(answer, turn.spent)
            return
        if stop := turn.spent.over(len(calls)):
            yield stop
            return
        for each in calls:
            yield each.started()
        told = turn.repetition.judge(calls, await results(calls, allow, turn.spent))
        for result in told:
            yield result
            turn.history.append(Message(role="tool", content=result.result, call=result.call))
        if stop := turn.spent.unwanted() or turn.repetition.stuck() or turn.spent.last():
            yield stop
            return


async def listen(answer: Answer, turn: Turn) -> AsyncGenerator[AnyBody, None]:
    """Take the model's answer down, and yield its text as it comes and as a whole."""
    sieve = Sieve(turn.catalog.offered)
    async with aclosing(pieces_of(answer, turn)) as pieces:
        async for piece in pieces:
            if not isinstance(piece, Reasoning | Progress):
                for body in answer.thought():
                    yield body
            match piece:
                case Progress():
                    yield TurnProgress(**dict(piece))
                case Reasoning(text=text):
                    answer.reasoning.append(text)
                    yield ReasoningDelta(text=text)
                case str():
                    if text := sieve.feed(piece):
                        answer.text.append(text)
                        yield TextDelta(text=text)
                case ToolCall():
                    answer.calls.append(piece)
                case Finish():
                    answer.finish = piece
                case ContextCompacted():
                    yield piece
                case ContextWarning():
                    answer.facts.append(piece)
                case Usage():
                    turn.spent.add(piece)
    for body in answer.thought():
        yield body
    # A server that parses calls has parsed them: what it left as text is text.
    text, wanted = await asyncio.to_thread(sieve.rest, cut=answer.cut or bool(answer.calls))
    answer.calls += [
        ToolCall(id=f"call_{number}", name=call.name, arguments=call.arguments)
        for number, call in enumerate(wanted)
    ]
    if text:
        answer.text.append(text)
        yield TextDelta(text=text)
    if answer.said:
        yield TextDone(text="".join(answer.text))


async def pieces_of(answer: Answer, turn: Turn) -> AsyncGenerator[Piece, None]:
    """The model's answer, for as long as the turn has time."""
    async with aclosing(turn.chat(turn.history, turn.catalog.schemas)) as pieces:
        while True:
            try:
                async with asyncio.timeout(turn.spent.left()) as limit:
                    piece = await anext(pieces)
            except StopAsyncIteration:
                return
            except TimeoutError:
                if not limit.expired():
                    raise
                answer.late = True
                return
            yield piece


async def landed(answer: Answer, turn: Turn) -> list[Ready]:
    """The answer's calls, ready to run: one whose arguments do not fit is written once more."""
    turn.spent.add(answer.finish.usage)
    distinct = conversation.distinct(answer.calls, turn.history)
    calls = [await asyncio.to_thread(ready, call, turn.catalog, cut=answer.cut) for call in distinct]
    # Of several calls the server could not be told which one it is to write.
    if len(calls) == 1 and calls[0].mendable and not answer.cut and turn.constrains:
        mended = await constrained(calls[0], turn, answer)
        turn.constrains = mended is not None
        return [mended or calls[0]]
    return calls


async def constrained(wrong: Ready, turn: Turn, answer: Answer) -> Ready | None:
    """The same call, from a server that is told to hold to its schema; None when that does not help."""
    choice = {"type": "function", "function": {"name": wrong.call.name}}
    found: list[ToolCall] = []
    try:
        async with asyncio.timeout(turn.spent.left()):
            async with aclosing(turn.chat(turn.history, turn.catalog.schemas, tool_choice=choice)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, ToolCall):
                        found.append(piece)
                    elif isinstance(piece, ContextWarning | ContextCompacted):
                        answer.facts.append(piece)
                    elif isinstance(piece, Finish | Usage):
                        turn.spent.add(piece.usage if isinstance(piece, Finish) else piece)
    except (Failure, TimeoutError):
        return None  # it knows no such choice; what else is wrong, the next request will say
    same = [call.model_copy(update={"id": wrong.call.id}) for call in found if call.name == wrong.call.name]
    mended = await asyncio.to_thread(ready, same[0], turn.catalog) if same else wrong
    return None if mended.problem else mended


def ending(answer: Answer, spent: Spent) -> TurnDone:
    """Raises Failure for a turn that came to nothing: no word was said, and no tool was called."""
    if not answer.said and not spent.calls:
        why = "reached its limit of tokens before its answer began" if answer.cut else "answered nothing"
        raise Failure("no_answer", f"The model {why}.")
    reason = "length" if answer.finish.reason == "length" else "stop"
    return TurnDone(
        text="".join(answer.text),
        finish_reason=reason,
        usage=spent.usage,
        seconds=round(spent.seconds, 3),
        model=answer.finish.model,
    )
