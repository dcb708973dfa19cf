"""What of a conversation its model is told: a pure function of the history and of one stored fact.

The history only grows; `context.compacted` says how it is told once it no longer fits. So requests
extend one another from one such fact to the next, and a daemon that starts again makes the same ones.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from json import dumps
from typing import Any

from cli.protocol.events import ContextCompacted, Event
from cli.protocol.messages import Message

# Requests that room is kept for, each with its answer and its results, until the next compaction: eight,
# and two for words that are longer than their share.
STEPS = 10
# What stands around a message, a call or a tool in any chat template, in bytes, on the safe side.
WRAPPING = 32
# What the assistant is told to have said where it was not let speak.
INTERRUPTED = "(I was interrupted here.)"
# Shorter results are told as they are: a line in their place would save nothing.
LINE = 120


@dataclass(frozen=True)
class Budget:
    """How a window of so many tokens is divided; the reserves grow with it."""

    window: int

    @property
    def answer(self) -> int:
        return self.window // 8

    @property
    def results(self) -> int:
        """For what tools answer next, and for what an estimate is short of."""
        return self.window // 16

    @property
    def prompt(self) -> int:
        """The most that a request may have."""
        return self.window - self.answer - self.results


def weight(messages: Iterable[Message], tools: Sequence[dict[str, Any]] = ()) -> int:
    """Bytes of a request, which no tokenizer makes more tokens of."""
    about = sum(len(dumps(tool)) + WRAPPING for tool in tools)
    return about + sum(weight_of(message) for message in messages)


def weight_of(message: Message) -> int:
    calls = sum(WRAPPING + bytes_of(call.name) + bytes_of(call.arguments) for call in message.calls)
    return WRAPPING + bytes_of(message.content) + calls


def bytes_of(text: str) -> int:
    return len(text.encode(errors="replace"))


def split(messages: Sequence[Message]) -> tuple[list[Message], list[Message]]:
    """The system prompt, and what was said."""
    system = list(takewhile(lambda message: message.role == "system", messages))
    return system, list(messages[len(system) :])


def groups(said: Sequence[Message]) -> list[int]:
    """Where a message begins that does not answer a call: the only places to cut a conversation at."""
    return [place for place, message in enumerate(said) if message.role != "tool"]


def last(facts: Sequence[Event]) -> ContextCompacted | None:
    """How the conversation was last compacted."""
    bodies = (fact.event for fact in reversed(facts))
    return next((body for body in bodies if isinstance(body, ContextCompacted)), None)


def view(messages: Sequence[Message], compacted: ContextCompacted | None) -> list[Message]:
    """The messages as the model is told them."""
    return list(alternating(shaped(messages, compacted)))


def alternating(messages: Iterable[Message]) -> Iterator[Message]:
    """With a word of the assistant's between a result and the user: many chat templates take none there.

    That is where a turn was stopped, or the user added something to it.
    """
    last = ""
    for message in messages:
        if last == "tool" and message.role == "user":
            yield Message(role="assistant", content=INTERRUPTED)
        last = message.role
        yield message


def shaped(messages: Sequence[Message], compacted: ContextCompacted | None) -> list[Message]:
    """As the compaction has them told."""
    if compacted is None:
        return list(messages)
    system, said = split(messages)
    start = max(compacted.through, compacted.masked)
    told = [masked(message) for message in said[compacted.through : start]]
    told += shortened(said, start, compacted)
    return [*system, *summarised(compacted.summary, told)]


def summarised(summary: str, told: list[Message]) -> list[Message]:
    """With the summary in front; many chat templates take no two user messages in a row."""
    if not summary:
        return told
    if told and told[0].role == "user":
        return [told[0].model_copy(update={"content": f"{summary}\n\n{told[0].content}"}), *told[1:]]
    return [Message(role="user", content=summary), *told]


def masked(message: Message) -> Message:
    size = bytes_of(message.content)
    if message.role != "tool" or size <= LINE:
        return message
    line = f"[A result of {size} bytes is left out here. Call the tool again if it is still needed.]"
    return message.model_copy(update={"content": line})


def shortened(said: Sequence[Message], start: int, compacted: ContextCompacted) -> Iterator[Message]:
    """The messages from `start`, their results cut so that room is left for those of the steps to come.

    Of the room, each of them is sure of one share for its results and of another for the model's own
    words; what is not set aside so, the next result may have.
    """
    left, share = compacted.room, compacted.room // (3 * STEPS)
    steps, unanswered, calls = STEPS, 1, 1
    for place in range(start, len(said)):
        message = said[place]
        if message.role == "assistant":
            steps = max(0, steps - (place >= compacted.messages))
            unanswered = calls = max(1, len(message.calls))
        elif message.role == "tool":
            most = max(share // calls, (left - 2 * share * steps) // max(1, unanswered))
            message = message.model_copy(update={"content": cut(message.content, most)})
            unanswered -= 1
        left -= weight_of(message)
        yield message


def cut(text: str, size: int) -> str:
    """The beginning and the end of a text in about so many bytes, with a word on what is missing."""
    data = text.encode(errors="replace")
    if len(data) <= max(size, LINE):
        return text
    kept = max(0, size - LINE)
    head, tail = data[: kept * 3 // 4], data[len(data) - kept // 4 :]
    note = f"[… {len(data) - kept} of {len(data)} bytes are left out here, to fit the window …]"
    return "\n".join((head.decode(errors="ignore"), note, tail.decode(errors="ignore"))).strip("\n")


def transcript(messages: Iterable[Message], size: int) -> str:
    """The conversation as plain text, nothing in it longer than so many bytes."""
    return "\n".join(line for message in messages for line in lines(message, size))


def lines(message: Message, size: int) -> Iterator[str]:
    name = {"user": "User", "assistant": "Assistant", "tool": "Result", "system": "System"}[message.role]
    if message.content:
        yield f"{name}: {cut(message.content, size)}"
    for call in message.calls:
        yield f"Called {call.name} with {cut(call.arguments, size)}"


def pieces(text: str, size: int) -> Iterator[str]:
    """The text in parts of at most so many bytes, each cut at the end of a line if there is one."""
    data = text.encode(errors="replace")
    while data:
        end = len(data) if len(data) <= size else (data.rfind(b"\n", size // 2, size) + 1 or size)
        yield data[:end].decode(errors="ignore")
        data = data[end:]
