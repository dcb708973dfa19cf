"""Numbers and words as models write them, and the JSON text that means the same."""

import json
import re

LITERALS = {
    "true": "true", "false": "false", "null": "null",
    "True": "true", "False": "false", "None": "null", "TRUE": "true", "FALSE": "false",
    "undefined": "null", "NaN": "null", "nan": "null", "Infinity": "null", "-Infinity": "null",
}  # fmt: skip
NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
# Numbers of Python and JavaScript: +1, .5, 5., 1_000, 0x1F.
LOOSE = re.compile(r"([+-]?)(0|[1-9]\d*(?:_\d+)*)?(?:\.(\d*))?((?:[eE][+-]?\d+)?)", re.ASCII)
SURROGATE = re.compile("[\ud800-\udfff]")
HEXADECIMAL = re.compile(r"([+-]?)0[xX]([0-9a-fA-F]{1,32})")


def literal(word: str) -> str | None:
    """The JSON text of a number, true, false or null; None when `word` is none of these."""
    if NUMBER.fullmatch(word):
        return word
    if word in LITERALS:
        return LITERALS[word]
    if found := HEXADECIMAL.fullmatch(word):
        return f"{found[1].strip('+')}{int(found[2], 16)}"
    found = LOOSE.fullmatch(word)
    if found and (found[2] or found[3]):
        fraction = "" if found[3] is None else f".{found[3] or 0}"
        return f"{found[1].strip('+')}{(found[2] or '0').replace('_', '')}{fraction}{found[4]}"
    return None


def kind(text: str) -> str:
    """The JSON Schema type of a JSON text."""
    first = text.lstrip()[:1]
    found = {"{": "object", "[": "array", '"': "string", "t": "boolean", "f": "boolean", "n": "null"}
    return found.get(first) or ("integer" if integral(text) else "number")


def integral(number: str) -> bool:
    if re.fullmatch(r"\s*-?\d+\s*", number):
        return True
    value = float(number)
    return value == value // 1 and abs(value) < 2**53


def unquoted(text: str) -> str:
    """The string that a JSON string means; half of a surrogate pair, which is no character, is replaced."""
    return SURROGATE.sub("\ufffd", json.loads(text))


def quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def escaped(text: str) -> str:
    """What stands between the quotes of a JSON string."""
    return quoted(text)[1:-1]
