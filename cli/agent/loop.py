"""The agent loop: ask the model, run the tools it calls, and again, until it calls none.

It decides and yields; whoever pulls it stores and shows. Closing it stops the model and its tools.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from json import dumps
from time import monotonic
from typing import Any

from cli.agent import history as conversation
from cli.agent.execute import Tools, arguments, done, execute, mutates, schema
from cli.agent.steering import Steering
from cli.protocol.events import (
    AnyBody,
    ReasoningDelta,
    ReasoningDone,
    SteerTaken,
    TextDelta,
    TextDone,
    ToolDone,
    ToolStarted,
    TurnDone,
    TurnProgress,
    Usage,
)
from cli.protocol.failures import stopped
from cli.protocol.messages import Finish, Message, Piece, Progress, Reasoning, ToolCall

# chat(messages, tools) streams one answer; allow(call) says whether a tool may run.
Chat = Callable[[Sequence[Message], Sequence[dict[str, Any]]], AsyncGenerator[Piece, None]]
Allow = Callable[[ToolCall], Awaitable[bool]]

# A model that has not come to an end by then is going in circles.
ROUNDS = 100


@dataclass
class Answer:
    """One message of the model, as it grows."""

    text: list[str] = field(default_factory=list)
    # The thought under way.
    reasoning: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    finish: Finish = field(default_factory=lambda: Finish(reason="stop"))

    def thought(self) -> list[AnyBody]:
        """The thought that now is over, if there is one."""
        whole, self.reasoning = "".join(self.reasoning), []
        return [ReasoningDone(text=whole)] if whole else []

    def message(self) -> Message:
        """As history will have it later: the same words, so that a server's kept prefix goes on holding."""
        calls = (call.model_copy(update={"arguments": dumps(arguments(call))}) for call in self.calls)
        return Message(role="assistant", content="".join(self.text), calls=tuple(calls))


async def run(
    messages: Sequence[Message], *, chat: Chat, tools: Tools, allow: Allow, steering: Steering | None = None
) -> AsyncGenerator[AnyBody, None]:
    """One turn: yields its events up to TurnDone or TurnStopped. Raises Failure, or what `chat` raises."""
    history, usage, started = list(messages), Usage(), monotonic()
    steering = steering or Steering()
    schemas = [schema(name, tool) for name, tool in tools.items()]
    for _ in range(ROUNDS):
        for steer in await steering.take():
            conversation.say(history, steer.text)
            yield SteerTaken(id=steer.id)
        answer = Answer()
        async with aclosing(listen(answer, chat(history, schemas))) as bodies:
            async for body in bodies:
                yield body
        usage = total(usage, answer.finish.usage)
        answer.calls = conversation.distinct(answer.calls, history)
        history.append(answer.message())
        if not answer.calls and await steering.close():
            yield ending(answer, usage, monotonic() - started)
            return
        for call in answer.calls:
            yield ToolStarted(
                call=call.id, name=call.name, arguments=arguments(call), mutates=mutates(call, tools)
            )
        for result in await results(answer.calls, tools, allow):
            yield result
            history.append(Message(role="tool", content=result.result, call=result.call))
    yield stopped("max_turns", f"The model was asked {ROUNDS} times without coming to an end.")


async def listen(answer: Answer, pieces: AsyncGenerator[Piece, None]) -> AsyncGenerator[AnyBody, None]:
    """Take the model's answer down, and yield its text as it comes and as a whole."""
    async with aclosing(pieces):
        async for piece in pieces:
            if not isinstance(piece, Reasoning | Progress):
                for body in answer.thought():
                    yield body
            match piece:
                case Progress(done=done, total=total):
                    yield TurnProgress(done=done, total=total)
                case Reasoning(text=text):
                    answer.reasoning.append(text)
                    yield ReasoningDelta(text=text)
                case str():
                    answer.text.append(piece)
                    yield TextDelta(text=piece)
                case ToolCall():
                    answer.calls.append(piece)
                case Finish():
                    answer.finish = piece
    if answer.text or not answer.calls:
        yield TextDone(text="".join(answer.text))


async def results(calls: Sequence[ToolCall], tools: Tools, allow: Allow) -> list[ToolDone]:
    """One for each call, in their order: allowed one after the other, run at once."""
    allowed = [await allow(call) if call.name in tools else True for call in calls]
    async with asyncio.TaskGroup() as group:
        running = [
            group.create_task(execute(call, tools) if may else deny(call))
            for call, may in zip(calls, allowed, strict=True)
        ]
    return [task.result() for task in running]


async def deny(call: ToolCall) -> ToolDone:
    return done(call, "The user did not allow this call.", ok=False)


def total(one: Usage, other: Usage) -> Usage:
    return Usage(**{name: getattr(one, name) + getattr(other, name) for name in Usage.model_fields})


def ending(answer: Answer, usage: Usage, seconds: float) -> TurnDone:
    reason = "length" if answer.finish.reason == "length" else "stop"
    return TurnDone(
        text="".join(answer.text),
        finish_reason=reason,
        usage=usage,
        seconds=round(seconds, 3),
        model=answer.finish.model,
    )
