"""Llama 3's calls: a JSON object that is all of the answer, with or without <|python_tag|> before it; its own
tools in Python's syntax; and <function=NAME>{…}</function>, which it writes when it is told to.
"""

from inference.runner.parsing.reading import Reading
from inference.runner.parsing.source import Waiting
from inference.runner.parsing.tools import json_calls, pythonic, tags

TAG, FUNCTION = "<|python_tag|>", "<function="
TAGS = tags.Tags(FUNCTION, "<parameter=", "</parameter>", "</function>")


def read(reading: Reading, opened: str) -> Waiting[bool]:
    if opened == FUNCTION:
        return (yield from tags.call(reading, TAGS))
    yield from reading.source.spaces()
    if (yield from reading.source.peek()) in ("{", "["):
        return (yield from json_calls.calls(reading))
    return (yield from pythonic.call(reading, ".call"))
