"""Calls as pairs of keys and values.

    GLM 4.5 and later, Laguna  <tool_call>NAME<arg_key>KEY</arg_key><arg_value>VALUE</arg_value></tool_call>
    LongCat                    the same with <longcat_tool_call>, <longcat_arg_key> and <longcat_arg_value>

White space may stand between the parts; some models write a JSON call in place of all.
"""

from collections.abc import Callable

from inference.runner.parsing.reading import Call, Reading
from inference.runner.parsing.source import Waiting, markers
from inference.runner.parsing.tools import json_calls
from inference.runner.parsing.tools.tags import Pairs, Tags, skip, value


def paired(prefix: str = "") -> Callable[[Reading, str], Waiting[bool]]:
    key, key_end = f"<{prefix}arg_key>", f"</{prefix}arg_key>"
    tags = Tags("", f"<{prefix}arg_value>", f"</{prefix}arg_value>", f"</{prefix}tool_call>")

    def read(reading: Reading, opened: str) -> Waiting[bool]:
        source = reading.source
        yield from source.spaces()
        if (yield from source.begins("{")) or (yield from source.begins("[")):
            return (yield from json_calls.calls(reading, tags.call_end))
        name, ended = yield from source.until(markers(key, tags.call_end, "\n"))
        if ended == "\n":
            yield from source.spaces()
            ended = yield from one_of(reading, key, tags.call_end)
        begun = reading.begin(name.strip()) if ended else None
        if begun and ended == key:
            yield from pairs(reading, begun)
            yield from skip(reading, tags.call_end)
        elif begun:
            begun.write("{}")
        return begun is not None

    def pairs(reading: Reading, begun: Call) -> Waiting[None]:
        written = Pairs(begun)
        while True:
            name, ended = yield from reading.source.until(markers(key_end))
            if not ended or not (yield from skip(reading, tags.parameter)):
                break
            schema = written.key(name.strip())
            yield from value(reading, schema, begun, tags, verbatim=False)
            if not (yield from skip(reading, key)):
                break
        written.end()

    return read


def one_of(reading: Reading, *marks: str) -> Waiting[str]:
    """Read the one of `marks` that comes next; "" when none does."""
    for mark in marks:
        if (yield from reading.source.skip(mark)):
            return mark
    return ""
