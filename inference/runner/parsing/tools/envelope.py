"""Answers that are messages, each with a header that says whom it is for and what it is.

    gpt-oss  <|channel|>analysis<|message|>…<|end|><|start|>assistant<|channel|>commentary
             to=functions.NAME <|constrain|>json<|message|>{…}<|call|>
    Muse      to=self<|message|>…<|eom|><|start|>assistant to=user<|message|>…<|eot|>

The prompt ends inside the first header, which begins there.
"""

import re
from collections.abc import Callable

from inference.runner.parsing.near_json import NearJson
from inference.runner.parsing.reading import Reading
from inference.runner.parsing.source import Waiting, markers

START, MESSAGE, CHANNEL = "<|start|>", "<|message|>", "<|channel|>"
TO = re.compile(r"\bto=([^\s<]+)")
ENDS = ("<|end|>", "<|call|>", "<|return|>", "<|eom|>", "<|eot|>", START)


def messages(body: Callable[[Reading, str], Waiting[str]]) -> Callable[[Reading], Waiting[None]]:
    """Reads an answer message by message; `body` reads what follows a header, up to what ends it."""

    def read(reading: Reading) -> Waiting[None]:
        header = begun(reading.prompt)
        ended = MESSAGE if header.endswith(MESSAGE) else "<|end|>"
        while ended:
            if ended not in (MESSAGE, START) and not (yield from in_header(reading)):
                # No header comes: what there is was meant to be read.
                ended = yield from reading.talk(reading.content, *ENDS)
                continue
            if ended != MESSAGE:
                text, ended = yield from reading.source.until(markers(MESSAGE, *ENDS[:-1]))
                header += text
            if ended == MESSAGE:
                ended = yield from body(reading, header)
            header = ""
        if not reading.calls:
            reading.content.flush()

    return read


def begun(prompt: str) -> str:
    """What the prompt has of the header of the message that comes."""
    tail = prompt[prompt.rfind(START) + len(START) :] if START in prompt else ""
    head, ended, _ = tail.partition(MESSAGE)
    return head + ended


def in_header(reading: Reading) -> Waiting[bool]:
    """Whether a header comes next, and not text."""
    for mark in (CHANNEL, START, MESSAGE, " to=", "to="):
        if (yield from reading.source.begins(mark)):
            return True
    return False


def harmony(reading: Reading, header: str) -> Waiting[str]:
    """A message to a function is a call, one of the analysis channel is thought, any other is content."""
    recipient = TO.search(header)
    name = recipient[1].removeprefix("functions.") if recipient else ""
    functions = bool(recipient and recipient[1].startswith("functions."))
    if reading.tools and (functions or name in reading.tools):
        start = reading.source.at
        yield from reading.source.spaces()
        call = reading.begin(name) if (yield from reading.source.peek()) == "{" else None
        if call:
            yield from NearJson(reading.source, "<|call|>").value(call.schema, call.write)
            _, ended = yield from reading.source.until(markers(*ENDS))
            return ended
        reading.source.at = start
    return (yield from said(reading, thought=CHANNEL + "analysis" in header and not functions))


def muse(reading: Reading, header: str) -> Waiting[str]:
    return (yield from said(reading, thought="to=self" in header))


def said(reading: Reading, *, thought: bool) -> Waiting[str]:
    """Text up to the end of its message."""
    strand = reading.thought if thought else reading.content
    reading.thinking = thought
    if not thought:
        yield from reading.try_bare()
    joint = "\n\n" if strand.said and not strand.fresh else ""
    strand.held = joint
    ended = yield from reading.talk(strand, *ENDS)
    if thought and not reading.thinking:  # a call came of it
        ended = yield from reading.talk(reading.content, *ENDS)
    if thought or strand.held == joint:
        strand.held = ""
    reading.thinking = False
    return ended
