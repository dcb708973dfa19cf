"""Calls that are a name and then a JSON object.

Kimi K2        <|tool_calls_section_begin|><|tool_call_begin|>functions.NAME:0<|tool_call_argument_begin|>{…}
               <|tool_call_end|><|tool_calls_section_end|>
DeepSeek V3.1  <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>NAME<｜tool▁sep｜>{…}<｜tool▁call▁end｜>…
DeepSeek V3    <｜tool▁call▁begin｜>function<｜tool▁sep｜>NAME, and {…} in a fence of ```json
Mistral        [TOOL_CALLS]NAME[ARGS]{…} with [CALL_ID]ID before [ARGS], or [TOOL_CALLS][{"name": …, …}]
"""

from collections.abc import Callable
from typing import NamedTuple

from inference.runner.parsing.near_json import NearJson
from inference.runner.parsing.reading import Reading
from inference.runner.parsing.source import Waiting, markers
from inference.runner.parsing.tools import json_calls
from inference.runner.parsing.tools.tags import skip

CALLS, ARGS, ID = "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"
FENCE = "```"


class Section(NamedTuple):
    """The marks of a format that puts its calls into a section."""

    opens: str
    call: str
    separator: str
    call_end: str
    closes: str


KIMI = Section(
    "<|tool_calls_section_begin|>", "<|tool_call_begin|>", "<|tool_call_argument_begin|>",
    "<|tool_call_end|>", "<|tool_calls_section_end|>",
)  # fmt: skip
DEEPSEEK = Section(
    "<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>",
    "<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>",
)  # fmt: skip


def arguments(reading: Reading, name: str, id: str | None, end: str) -> Waiting[bool]:
    """Begin the call and read its JSON object; only that, or `end` at once, makes it one."""
    yield from reading.source.spaces()
    empty = yield from reading.source.begins(end)
    begun = reading.begin(name, id) if empty or (yield from reading.source.peek()) == "{" else None
    if begun and empty:
        begun.write("{}")
    elif begun:
        yield from NearJson(reading.source, end).value(begun.schema, begun.write)
    return begun is not None


def in_section(
    section: Section, read: Callable[[Reading, str], Waiting[bool]]
) -> Callable[[Reading, str], Waiting[bool]]:
    """Reads the calls of a section, each by `read`, which is given what stands before the separator."""

    def one(reading: Reading) -> Waiting[bool]:
        head, ended = yield from reading.source.until(markers(section.separator, section.call_end, "\n"))
        found = ended == section.separator and (yield from read(reading, head.strip()))
        if found:
            yield from skip(reading, section.call_end)
        return found

    def calls(reading: Reading, opened: str) -> Waiting[bool]:
        found = opened == section.call and (yield from one(reading))
        while opened != section.call or found:
            start = reading.source.at
            if not (yield from skip(reading, section.call)) or not (yield from one(reading)):
                reading.source.at = start
                break
            found = True
        if found:
            yield from skip(reading, section.closes)
        return found

    return calls


def kimi(reading: Reading, id: str) -> Waiting[bool]:
    name = id.removeprefix("functions.")
    stem, _, number = name.rpartition(":")
    return arguments(reading, stem if number.isdigit() else name, id, KIMI.call_end)


def deepseek(reading: Reading, head: str) -> Waiting[bool]:
    """`head` is the name, or "function" and the name follows."""
    source = reading.source
    yield from source.spaces()
    if (yield from source.peek()) != "{" and not (yield from source.begins(DEEPSEEK.call_end)):
        head, ended = yield from source.until(markers("\n", FENCE, DEEPSEEK.call_end))
        if ended == DEEPSEEK.call_end:
            source.at -= len(ended)
        if ended == FENCE or (yield from source.skip(FENCE)):
            yield from source.skip("json")
    found = yield from arguments(reading, head.strip(), None, DEEPSEEK.call_end)
    if found:
        yield from skip(reading, FENCE)
    return found


def mistral(reading: Reading, opened: str) -> Waiting[bool]:
    source = reading.source
    yield from source.spaces()
    if (yield from source.begins("[{")) or (yield from source.begins("{")):
        return (yield from json_calls.calls(reading, ""))
    name, ended = yield from source.until(markers(ARGS, ID, "\n", "{"))
    id = None
    if ended == ID:
        id, ended = yield from source.until(markers(ARGS, "\n", "{"))
        id = id.strip()
    if ended == "{":  # some leave [ARGS] out
        source.at -= 1
    elif ended != ARGS:
        return False
    return (yield from arguments(reading, name.strip(), id, CALLS))
