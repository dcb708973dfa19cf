"""Gemma's calls: call:NAME{KEY:VALUE,…}, almost JSON with string marks of its own.

Gemma 4        <|tool_call>call:NAME{city:<|"|>Oslo<|"|>,days:3}<tool_call|>
FunctionGemma  <start_function_call>call:NAME{city:<escape>Oslo<escape>,days:3}<end_function_call>
"""

from collections.abc import Callable

from inference.runner.parsing.near_json import NearJson
from inference.runner.parsing.reading import Reading
from inference.runner.parsing.source import Waiting, markers
from inference.runner.parsing.tools.tags import skip


def called(quote: str, end: str) -> Callable[[Reading, str], Waiting[bool]]:
    def read(reading: Reading, opened: str) -> Waiting[bool]:
        found = False
        while True:
            start = reading.source.at
            if not (yield from skip(reading, "call:")) or not (yield from one(reading)):
                reading.source.at = start
                break
            found = True
        if found:
            yield from skip(reading, end)
        return found

    def one(reading: Reading) -> Waiting[bool]:
        source = reading.source
        name, ended = yield from source.until(markers("{", "\n", end))
        begun = reading.begin(name.strip()) if ended == "{" else None
        if begun:
            source.at -= 1
            yield from NearJson(source, end, quote).value(begun.schema, begun.write)
        return begun is not None

    return read
