"""A session's events as the messages a model reads: always a history that a chat API accepts."""

from collections.abc import Iterable, Iterator, Sequence
from json import dumps

from cli.protocol.events import (
    Event,
    PermissionRequest,
    PermissionResolved,
    SteerTaken,
    TextDone,
    ToolDone,
    ToolStarted,
    TurnQueued,
    TurnStarted,
    TurnSteered,
)
from cli.protocol.messages import Message, ToolCall

# The result of a call that has none: every call gets exactly one.
UNKNOWN = "Interrupted: whether this was done, and how far, is not known. Look before doing it again."
UNASKED = "Not run: the turn ended before the user had allowed it."
REPEATABLE = "Interrupted before its end. It changes nothing: call it again if its result is needed."


class Said:
    """What one turn adds to the conversation."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        # Steered with, and not yet read by the model: in the order they came.
        self.waiting: dict[str, str] = {}
        # Calls of the last message that have no result yet.
        self.open: dict[str, ToolStarted] = {}
        # Whether a permission request is open: until it is answered, none of these calls runs.
        self.asked = False

    def add(self, fact: Event) -> None:
        match fact.event:
            case TurnQueued(text=text):
                self.messages.append(Message(role="user", content=text))
            case TurnStarted(reminder=text) if text:
                say(self.messages, text)
            case TurnSteered(id=id, text=text):
                self.waiting[id] = text
            case SteerTaken(id=id):
                say(self.messages, self.waiting.pop(id))
            case TextDone(text=text):
                self.messages.append(Message(role="assistant", content=text))
            case ToolStarted():
                self._call(fact.event)
            case PermissionRequest() | PermissionResolved():
                self.asked = isinstance(fact.event, PermissionRequest)
            case ToolDone(call=id, result=result):
                self.open.pop(id, None)
                self.messages.append(Message(role="tool", content=result, call=id))
            case _:
                pass  # beginnings and endings are no part of the conversation

    def whole(self) -> list[Message]:
        """The messages, with a result for each call; none when the model never spoke.

        A turn without a word leaves no trace: it failed or was cancelled early, and the user asked again.
        """
        if all(message.role == "user" for message in self.messages):
            return []
        whole = [*self.messages, *map(answer, self.interrupted())]
        for text in self.waiting.values():
            say(whole, text)
        return whole

    def interrupted(self) -> list[ToolDone]:
        """A result for each call that has none, which says whether it may be called again."""
        return [
            ToolDone(call=call.call, name=call.name, ok=False, result=self._cut(call))
            for call in self.open.values()
        ]

    def _cut(self, call: ToolStarted) -> str:
        if self.asked:
            return UNASKED
        return UNKNOWN if call.mutates else REPEATABLE

    def _call(self, started: ToolStarted) -> None:
        last = self.messages[-1]
        before = self.messages.pop() if last.role == "assistant" else Message(role="assistant", content="")
        call = ToolCall(id=started.call, name=started.name, arguments=dumps(started.arguments))
        self.messages.append(before.model_copy(update={"calls": (*before.calls, call)}))
        self.open[started.call] = started


def messages(facts: Iterable[Event]) -> list[Message]:
    """The messages of every turn that said something, in the order of the queue."""
    turns: dict[str, Said] = {}
    for fact in facts:
        turns.setdefault(fact.turn, Said()).add(fact)
    told: list[Message] = []
    for said in turns.values():
        for message in said.whole():
            tell(told, message)
    return told


def say(messages: list[Message], text: str) -> None:
    """Add a word of the user: many chat templates take no two user messages in a row."""
    tell(messages, Message(role="user", content=text))


def tell(messages: list[Message], message: Message) -> None:
    last = messages[-1] if messages else None
    if last and last.role == message.role == "user":
        messages[-1] = last.model_copy(update={"content": f"{last.content}\n\n{message.content}"})
    else:
        messages.append(message)


def answer(result: ToolDone) -> Message:
    return Message(role="tool", content=result.result, call=result.call)


def distinct(calls: Sequence[ToolCall], messages: Sequence[Message]) -> list[ToolCall]:
    """The calls, each with an id that no other has: some servers number those of every answer anew."""
    taken = {call.id for message in messages for call in message.calls}
    return [call.model_copy(update={"id": fresh(call.id, taken)}) for call in calls]


def fresh(id: str, taken: set[str]) -> str:
    """`id`, or with a number behind it when it is taken; from now on it is. An empty one names nothing."""
    found = next(each for each in candidates(id or "call") if each not in taken)
    taken.add(found)
    return found


def candidates(id: str) -> Iterator[str]:
    yield id
    number = 2
    while True:
        yield f"{id}_{number}"
        number += 1
