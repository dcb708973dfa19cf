"""Calls that are JSON objects with a name and arguments, between markers or bare.

Hermes, Qwen, Granite 4   <tool_call>{"name": …, "arguments": …}</tool_call>
Granite 3, Phi 4          <|tool_call|>[{"name": …, "arguments": …}, …]
Nemotron                  <TOOLCALL>[…]</TOOLCALL>
Command R                 <|START_ACTION|>[{"tool_name": …, "parameters": …}]<|END_ACTION|>
Llama 3                   {"name": …, "parameters": …}, with or without <|python_tag|> before
"""

from collections.abc import Callable

from inference.runner.parsing.near_json import NearJson, repaired
from inference.runner.parsing.reading import Call, Reading
from inference.runner.parsing.source import Source, Waiting
from inference.runner.parsing.values import unquoted

NAMES = ("name", "function", "tool_name", "tool")
ARGUMENTS = ("arguments", "parameters", "args")
IDS = ("id", "tool_call_id")
KNOWN = {*NAMES, *ARGUMENTS, *IDS, "type"}


class JsonCall:
    """One object with a name and arguments, in any order."""

    def __init__(self, reading: Reading, near: NearJson) -> None:
        self.reading, self.near = reading, near
        self.call: Call | None = None
        self.name: str | None = None
        self.id: str | None = None
        # Arguments that came before the name.
        self.held: str | None = None

    def read(self) -> Waiting[bool]:
        """Whether it was a call; it ends where the object does, or where it is cut off."""
        if not (yield from self.members()):
            return False
        if not self.call and self.name is not None:
            self.call = self.reading.begin(self.name, self.id)
            if self.call:
                self.call.write(arguments(self.held, self.call))
        return self.call is not None

    def members(self) -> Waiting[bool]:
        """Read the object; False when it cannot be a call, or is cut off before it was one."""
        near, source = self.near, self.near.source
        source.at += 1
        while True:
            yield from near.separator()
            char = yield from near.next()
            if not char or char in "]}":
                source.at += char == "}"
                return bool(self.call or char)
            found = yield from near.key()
            if found is None or not (yield from near.next()):
                continue
            key = unquoted(found[0])
            if key not in KNOWN and not self.call:
                return False
            if not (yield from self.member(key)):
                return False

    def member(self, key: str) -> Waiting[bool]:
        near = self.near
        if key in NAMES and self.name is None:
            if (yield from near.next()) == "{":  # OpenAI's own {"function": {"name": …, "arguments": …}}
                return (yield from self.members())
            self.name = text((yield from near.collected()))
            return self.name is not None
        if key in ARGUMENTS and self.call is None:
            if self.name is None:
                self.held = yield from near.collected()
                return True
            return (yield from self.arguments(self.name))
        value = yield from near.collected()
        if key in IDS:
            self.id = text(value)
        return True

    def arguments(self, name: str) -> Waiting[bool]:
        streams = (yield from self.near.next()) == "{"
        self.call = call = self.reading.begin(name, self.id)
        if call and streams:
            yield from self.near.value(call.schema, call.write)
        elif call:
            call.write(arguments((yield from self.near.collected()), call))
        return call is not None


def text(value: str) -> str | None:
    return unquoted(value) if value.startswith('"') else None


def arguments(value: str | None, call: Call) -> str:
    """`value` as the call's arguments; none at all are an empty object."""
    return "{}" if value in (None, "null", '""') else repaired(value or "", call.schema)


def calls(reading: Reading, close: str = "") -> Waiting[bool]:
    """Read objects, one after another or in a list, up to `close` if that follows."""
    source, near = reading.source, NearJson(reading.source, close)
    yield from source.spaces()
    yield from source.skip("[")
    yield from source.spaces()
    found = closed = False
    at = source.at
    while not closed and (yield from near.next()) == "{" and (yield from JsonCall(reading, near).read()):
        found = True
        closed, at = yield from between(source, close)
    source.at = at
    return found


def between(source: Source, close: str) -> Waiting[tuple[bool, int]]:
    """Read what may stand between or behind calls: whether `close` was there, and where all that ends."""
    at = source.at
    while True:
        yield from source.spaces()
        if (yield from source.skip(close)):
            return True, source.at
        char = yield from source.peek()
        if not char or char not in ",;]}":
            return False, at
        source.at += 1
        at = source.at


def marked(closes: dict[str, str]) -> Callable[[Reading, str], Waiting[bool]]:
    """Reads the calls behind a marker; `closes` says what ends those of each."""

    def read(reading: Reading, opened: str) -> Waiting[bool]:
        return calls(reading, closes[opened])

    return read
