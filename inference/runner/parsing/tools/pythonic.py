"""Calls in Python's syntax: LFM2's <|tool_call_start|>[NAME(city="Oslo", days=3), …]<|tool_call_end|>, and
those of Llama's own tools, <|python_tag|>NAME.call(query="…").
"""

import re

from inference.runner.parsing.near_json import NearJson
from inference.runner.parsing.reading import Reading
from inference.runner.parsing.source import Waiting
from inference.runner.parsing.tools import json_calls
from inference.runner.parsing.tools.tags import Pairs, skip

NAME = re.compile(r"[\w.-]*")
WORD = re.compile(r"\w*")


def lfm(reading: Reading, opened: str) -> Waiting[bool]:
    source, end = reading.source, "<|tool_call_end|>"
    start = source.at
    yield from skip(reading, "[")
    yield from source.spaces()
    if (yield from source.begins("{")):
        source.at = start
        return (yield from json_calls.calls(reading, end))
    found, start = False, source.at
    while (yield from call(reading)):
        found = True
        yield from skip(reading, ",")
        start = source.at
        yield from source.spaces()
    source.at = start
    if found:
        yield from skip(reading, "]")
        yield from skip(reading, end)
    return found


def call(reading: Reading, suffix: str = "") -> Waiting[bool]:
    """One call with keywords; `suffix` belongs to the format, not to the name."""
    source = reading.source
    name = yield from source.match(NAME)
    if not name.endswith(suffix) or not (yield from source.skip("(")):
        return False
    yield from source.spaces()
    start = source.at
    empty = yield from source.begins(")")
    key = yield from keyword(reading)
    begun = reading.begin(name.removesuffix(suffix)) if key or empty else None
    source.at = start
    if begun:
        pairs = Pairs(begun)
        near = NearJson(source, ")")
        while key := (yield from keyword(reading)):
            yield from near.gap()
            if not (yield from near.next()):
                break
            yield from near.value(pairs.key(key), begun.write)
            yield from skip(reading, ",")
            yield from source.spaces()
        pairs.end()
        yield from skip(reading, ")")
    return begun is not None


def keyword(reading: Reading) -> Waiting[str]:
    """Read `key=`; "" when it is not what comes next."""
    key = yield from reading.source.match(WORD)
    return key if key and (yield from skip(reading, "=")) else ""
