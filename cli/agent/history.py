"""A session's events as the messages a model reads: always a history that a chat API accepts."""

from collections.abc import Iterable, Sequence
from json import dumps

from cli.protocol.events import Event, TextDone, ToolDone, ToolStarted, TurnQueued
from cli.protocol.messages import Message, ToolCall

# The result of a tool call that has none: every call gets exactly one.
INTERRUPTED = "Interrupted: whether this was done, and how far, is not known."


def messages(facts: Iterable[Event]) -> list[Message]:
    """The messages of every turn that said something, in the order of the queue.

    A turn without a word leaves no trace: it failed or was cancelled early, and the user asked again.
    """
    turns: dict[str, list[Message]] = {}
    for fact in facts:
        add(turns.setdefault(fact.turn, []), fact)
    return [message for said in turns.values() if len(said) > 1 for message in whole(said)]


def add(said: list[Message], fact: Event) -> None:
    """Put what a fact says at the end of its turn's messages."""
    match fact.event:
        case TurnQueued(text=text):
            said.append(Message(role="user", content=text))
        case TextDone(text=text):
            said.append(Message(role="assistant", content=text))
        case ToolStarted(call=id, name=name, arguments=arguments):
            before = said.pop() if said[-1].role == "assistant" else Message(role="assistant", content="")
            call = ToolCall(id=id, name=name, arguments=dumps(arguments))
            said.append(before.model_copy(update={"calls": (*before.calls, call)}))
        case ToolDone(call=id, result=result):
            said.append(Message(role="tool", content=result, call=id))
        case _:
            pass  # beginnings and endings are no part of the conversation


def whole(said: Sequence[Message]) -> Sequence[Message]:
    """With a result for each call. Only the last message with calls can lack some: the loop ended there."""
    answered = {message.call for message in said}
    calls = [call for message in said for call in message.calls if call.id not in answered]
    return [*said, *(Message(role="tool", content=INTERRUPTED, call=call.id) for call in calls)]
