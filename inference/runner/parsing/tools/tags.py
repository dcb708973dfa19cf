"""Calls in tags, one for each parameter.

Qwen 3 Coder   <tool_call><function=NAME><parameter=KEY>VALUE</parameter></function></tool_call>
Seed           the same in <seed:tool_call>; Nemotron 3 and Step write Qwen's
MiniMax M2     <minimax:tool_call><invoke name="NAME"><parameter name="KEY">VALUE</parameter></invoke>…
MiniCPM 5      <function name="NAME"><param name="KEY">VALUE</param></function>
Muse           <atem:function_calls><atem:invoke name="NAME"><atem:parameter name="KEY">VALUE…
DeepSeek V3.2  <｜DSML｜function_calls><｜DSML｜invoke name="NAME"><｜DSML｜parameter name="KEY"…>VALUE…
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from inference.runner.parsing.near_json import converted
from inference.runner.parsing.reading import Call, Reading
from inference.runner.parsing.schema import Schema
from inference.runner.parsing.source import Waiting, markers
from inference.runner.parsing.values import escaped, quoted

CDATA = re.compile(r"\s*<!\[CDATA\[(.*?)\]\]>\s*", re.DOTALL)
# <function=NAME> and <function name="NAME" …>; the quotes may be missing.
EQUALS = re.compile(r"""=\s*["']?([^"'<>]+?)["']?\s*(?:$|\w+=)""")
NAMED = re.compile(r"""\bname\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'<>]+))""")


class Tags(NamedTuple):
    """The strings of one format. A tag's header is what stands between its beginning and `>`."""

    call: str
    parameter: str
    parameter_end: str
    call_end: str
    # Around all calls.
    section: str = ""
    section_end: str = ""


class Pairs:
    """Writes the members of an object, one after another."""

    def __init__(self, call: Call) -> None:
        self.call, self.members = call, 0

    def key(self, key: str) -> Schema:
        self.call.write(f"{', ' if self.members else '{'}{quoted(key)}: ")
        self.members += 1
        return self.call.schema.member(key)

    def end(self) -> None:
        self.call.write("}" if self.members else "{}")


def header(text: str) -> str:
    """The name in a tag's header; "" when there is none."""
    if found := NAMED.search(text):
        return found[1] or found[2] or found[3] or ""
    found = EQUALS.match(text)
    return found[1].strip() if found else ""


def read(tags: Tags) -> Callable[[Reading, str], Waiting[bool]]:
    def calls(reading: Reading, opened: str) -> Waiting[bool]:
        source = reading.source
        if opened == tags.call:
            return (yield from call(reading, tags))
        found = False
        at = source.at
        while True:
            yield from source.spaces()
            if not (yield from source.skip(tags.call)) or not (yield from call(reading, tags)):
                break
            found, at = True, source.at
        source.at = at
        if found:
            yield from closing(reading, tags.section_end)
        return found

    return calls


def closing(reading: Reading, end: str) -> Waiting[None]:
    """Read `end` and the white space before it, if it comes."""
    at = reading.source.at
    yield from reading.source.spaces()
    if not (yield from reading.source.skip(end)):
        reading.source.at = at


def call(reading: Reading, tags: Tags) -> Waiting[bool]:
    source = reading.source
    text, ended = yield from source.until(markers(">", "<"))
    name = header(text)
    if ended != ">" or not name:
        return False
    # Only what a call holds can make it one.
    yield from source.spaces()
    if not (yield from source.begins(tags.parameter)) and not (yield from source.begins(tags.call_end)):
        return False
    begun = reading.begin(name)
    if not begun:
        return False
    pairs = Pairs(begun)
    while True:
        yield from source.spaces()
        if not (yield from source.skip(tags.parameter)):
            break
        text, _ = yield from source.until(markers(">"))
        if source.over and source.at == len(source.text):  # cut off inside the header
            break
        yield from value(reading, pairs.key(header(text)), pairs, 'string="true"' in text, tags)
    yield from source.skip(tags.call_end)
    pairs.end()
    return True


def value(reading: Reading, schema: Schema, pairs: Pairs, verbatim: bool, tags: Tags) -> Waiting[None]:
    """Read a parameter's value up to its end tag; a string is written as it comes."""
    source, end = reading.source, tags.parameter_end
    write = pairs.call.write
    if (yield from source.begins("\n")):
        source.at += 1
    if (verbatim or schema.types == {"string"}) and not (yield from source.begins("<![CDATA[")):
        write('"')
        held = ""
        while True:
            text, ended = source.part(markers(end))
            text = held + text
            keep = len(text) - len(text.removesuffix("\n"))
            held, text = text[len(text) - keep :], text[: len(text) - keep]
            write(escaped(text))
            if ended or source.over:
                break
            yield
        write('"')
        return
    text, _ = yield from source.until(markers(end))
    found = CDATA.fullmatch(text)
    text = found[1] if found else text.removesuffix("\n")
    write(converted(text, schema))
