"""Calls in tags, one for each parameter.

    Qwen 3 Coder   <tool_call><function=NAME><parameter=KEY>VALUE</parameter></function></tool_call>
    Seed           the same in <seed:tool_call>; Nemotron 3 and Step write Qwen's
    MiniMax M2     <minimax:tool_call><invoke name="NAME"><parameter name="KEY">VALUE</parameter></invoke>…
    MiniCPM 5      <function name="NAME"><param name="KEY">VALUE</param></function>
    Muse           <atem:function_calls><atem:invoke name="NAME"><atem:parameter name="KEY">VALUE…
    DeepSeek V3.2  <｜DSML｜function_calls><｜DSML｜invoke name="NAME"><｜DSML｜parameter name="KEY"…>VALUE…
    Kimi K3        <|open|>tools<|sep|><|open|>call tool="NAME"…<|sep|><|open|>argument key="KEY"…<|sep|>…

Some write a JSON object in place of the parameters, and Qwen's a JSON call in place of all.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from inference.runner.parsing.near_json import NearJson, converted
from inference.runner.parsing.reading import Call, Reading
from inference.runner.parsing.schema import Schema
from inference.runner.parsing.source import Waiting, markers
from inference.runner.parsing.tools import json_calls
from inference.runner.parsing.values import escaped, quoted

CDATA = re.compile(r"\s*<!\[CDATA\[(.*?)\]\]>\s*", re.DOTALL)
# The names in <function=NAME> and <invoke name="NAME" …>, whose quotes may be missing.
EQUALS = re.compile(r"""=?\s*["']?([^"'<>=]+?)["']?\s*""")
NAMED = re.compile(r"""\s.*?\b(?:name|tool|key)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'<>]+))""", re.DOTALL)
VERBATIM = re.compile(r"""\b(?:string="true"|type="string")""")


class Tags(NamedTuple):
    """The strings of one format. A tag's header is what stands between its beginning and `header_end`."""

    call: str
    parameter: str
    parameter_end: str
    call_end: str
    # Around all calls.
    section: str = ""
    section_end: str = ""
    header_end: str = ">"
    # Around a JSON object that holds all parameters.
    json: str = ""
    json_end: str = ""


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


def name_in(header: str) -> str:
    """The name that a tag's header gives; "" when it gives none."""
    if found := EQUALS.fullmatch(header):
        return found[1]
    named = NAMED.match(header)
    name = (named[1] or named[2] or named[3] or "") if named else ""
    return name.replace("&quot;", '"').replace("&amp;", "&")


def tagged(tags: Tags) -> Callable[[Reading, str], Waiting[bool]]:
    """Reads the calls behind `tags.section`, or one behind `tags.call`."""

    def read(reading: Reading, opened: str) -> Waiting[bool]:
        source = reading.source
        start = source.at
        yield from source.spaces()
        if opened == tags.section and (yield from source.begins("{")):
            return (yield from json_calls.calls(reading, tags.section_end))
        source.at = start
        # Some models leave the beginning of the section out, and not its end.
        one = opened == tags.call
        found = (yield from call(reading, tags)) if one else (yield from several(reading, tags))
        if found:
            yield from skip(reading, tags.section_end)
        return found

    return read


def several(reading: Reading, tags: Tags) -> Waiting[bool]:
    found = False
    while True:
        start = reading.source.at
        if not (yield from skip(reading, tags.call)) or not (yield from call(reading, tags)):
            reading.source.at = start
            return found
        found = True


def skip(reading: Reading, mark: str) -> Waiting[bool]:
    """Read `mark` and the white space before it, if it comes."""
    start = reading.source.at
    yield from reading.source.spaces()
    found = yield from reading.source.skip(mark)
    if not found:
        reading.source.at = start
    return found


def call(reading: Reading, tags: Tags) -> Waiting[bool]:
    source = reading.source
    header, ended = yield from source.until(markers(tags.header_end, "\n", "<" * (tags.header_end == ">")))
    name = name_in(header)
    yield from source.spaces()
    if ended != tags.header_end or not name:
        return False
    in_json = yield from source.begins(tags.json)
    if in_json:
        yield from source.until(markers(tags.header_end))
    # Only what it holds makes a tag a call.
    if (yield from source.begins("{")):
        begun = reading.begin(name)
        if begun:
            yield from NearJson(source, tags.json_end or tags.call_end).value(begun.schema, begun.write)
            yield from skip(reading, tags.json_end)
    else:
        empty = yield from source.begins(tags.call_end)
        begun = reading.begin(name) if empty or (yield from source.begins(tags.parameter)) else None
        if begun:
            yield from parameters(reading, begun, tags)
    if begun:
        yield from skip(reading, tags.call_end)
    return begun is not None


def parameters(reading: Reading, begun: Call, tags: Tags) -> Waiting[None]:
    source, pairs = reading.source, Pairs(begun)
    while (yield from skip(reading, tags.parameter)):
        header, ended = yield from source.until(markers(tags.header_end))
        if not ended:
            break
        schema = pairs.key(name_in(header))
        yield from value(reading, schema, begun, tags, verbatim=bool(VERBATIM.search(header)))
    pairs.end()


def value(reading: Reading, schema: Schema, begun: Call, tags: Tags, *, verbatim: bool) -> Waiting[None]:
    """Read a parameter's value and its end tag; a string is written as it comes."""
    source, end = reading.source, markers(tags.parameter_end)
    # The line breaks beside the tags are the format's, except in Kimi K3's.
    trims = tags.header_end == ">"
    if trims and (yield from source.begins("\n")):
        source.at += 1
    streams = (verbatim or schema.types == {"string"}) and not (yield from source.begins("<![CDATA["))
    if streams:
        yield from string(reading, begun, tags, trims=trims)
        return
    text, _ = yield from source.until(end)
    found = CDATA.fullmatch(text)
    text = found[1] if found else text.removesuffix("\n") if trims else text
    begun.write(converted(text, schema))


def string(reading: Reading, begun: Call, tags: Tags, *, trims: bool) -> Waiting[None]:
    source, end = reading.source, markers(tags.parameter_end)
    held = ""
    begun.write('"')
    while True:
        text, ended = source.part(end)
        text = held + text
        held = "\n" if trims and text.endswith("\n") else ""
        begun.write(escaped(text.removesuffix(held)))
        if ended or source.over:
            break
        yield
    begun.write('"')
