"""JSON as models write it, read as it comes and written as the JSON it means.

Valid JSON comes out byte for byte. What is repaired: other quotes, quotes and control characters inside
strings, unknown escapes, keys and words without quotes, Python's literals, comments, missing, doubled and
trailing commas, missing colons and closers. Values are held to the tool's schema where nothing is lost
by it: "5" becomes 5 where an integer is asked, 5 becomes "5" where a string is.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from inference.runner.parsing.schema import ANY, Schema
from inference.runner.parsing.source import Source, Waiting, markers
from inference.runner.parsing.values import escaped, kind, literal, quoted, unquoted

Write = Callable[[str], object]

CLOSERS = {"{": "}", "[": "]"}
SPECIAL = re.compile(r"""[\\"'\x00-\x1f]""")
NOT_JSON_SPACE = re.compile(r"[^ \t\n\r]")
SPACE_OR_COMMENT = re.compile(r"[\s#/]")
LINE = re.compile(r"[^\n]*")
BARE_KEY = re.compile(r"""[^\s:=,{}\[\]"']*""")
HEX = re.compile(r"[0-9a-fA-F]*")


@dataclass
class Container:
    """An object or array that is open; one that stands where a string is asked is written as one."""

    closer: str
    schema: Schema
    write: Write
    # Where to write the end of such a string.
    outside: Write | None = None
    members: int = 0


class NearJson:
    """Reads one JSON text from `source`; outside strings, `stop` ends it.

    `quote` is a mark of the format's own that encloses strings without escapes.
    """

    def __init__(self, source: Source, stop: str = "", quote: str = "") -> None:
        self.source, self.stop, self.quote = source, stop, quote

    def value(self, schema: Schema, write: Write) -> Waiting[None]:
        """Read a value, written as it comes."""
        open: list[Container] = []
        place: tuple[Schema, Write] | None = (schema, write)
        while place:
            yield from self.element(*place, open)
            place = None
            while open and not place:
                place = yield from self.member(open)

    def collected(self, schema: Schema = ANY) -> Waiting[str]:
        parts: list[str] = []
        yield from self.value(schema, parts.append)
        return "".join(parts)

    def next(self) -> Waiting[str]:
        """The next character; "" at the end, and before `stop`."""
        char = yield from self.source.peek()
        stops = char and char == self.stop[:1] and (yield from self.source.begins(self.stop))
        return "" if stops else char

    def marked(self) -> Waiting[bool]:
        """Whether the format's own quote comes next."""
        return bool(self.quote) and (yield from self.source.begins(self.quote))

    def gap(self) -> Waiting[str]:
        """Read the white space, and leave out the comments in it."""
        kept = ""
        while SPACE_OR_COMMENT.match((yield from self.source.peek())):
            kept += NOT_JSON_SPACE.sub(" ", (yield from self.source.spaces()))
            if not (yield from self.comment()):
                break
        return kept

    def comment(self) -> Waiting[bool]:
        source = self.source
        char = yield from source.peek()
        if not char or char not in "#/":
            return False
        if char == "#" or (yield from source.begins("//")):
            yield from source.match(LINE)
            return True
        if (yield from source.skip("/*")):
            yield from source.until(markers("*/"))
            return True
        return False

    def element(self, schema: Schema, write: Write, open: list[Container]) -> Waiting[None]:
        """Read a scalar, or the beginning of a container, which is then the last of `open`."""
        char = yield from self.next()
        if char and char in CLOSERS:
            self.source.at += 1
            open.append(self.container(char, schema, write))
        elif (char and char in "\"'") or (yield from self.marked()):
            yield from self.string(schema, write)
        elif not char or char in ",:}]":
            self.source.at += char == ":"  # it would stand in the way for ever
            write("null")
        else:
            yield from self.bare(schema, write)

    def container(self, char: str, schema: Schema, write: Write) -> Container:
        if schema.takes("object" if char == "{" else "array") or not schema.takes("string"):
            write(char)
            return Container(CLOSERS[char], schema, write)
        write('"' + char)
        return Container(CLOSERS[char], ANY, lambda text: write(escaped(text)), outside=write)

    def member(self, open: list[Container]) -> Waiting[tuple[Schema, Write] | None]:
        """Go on in the innermost container: to its next value, or to its end and then None."""
        container = open[-1]
        before, after = yield from self.separator()
        char = yield from self.next()
        if not char or char in "]}":
            self.close(open, char, before + after)
            return None
        lead = before + ("," if container.members else "") + after
        if container.closer == "}":
            found = yield from self.key()
            if found is None or not (yield from self.next()):
                return None
            key, colon = found
            lead += colon
        container.write(lead)
        container.members += 1
        place = container.schema.member(unquoted(key)) if container.closer == "}" else container.schema.item()
        return place, container.write

    def close(self, open: list[Container], char: str, lead: str) -> None:
        container = open[-1]
        if char in ("", container.closer) or any(char == other.closer for other in open):
            self.source.at += char == container.closer
            open.pop()
            container.write((lead if char else "") + container.closer)
            if container.outside:
                container.outside('"')
        else:  # it closes nothing
            self.source.at += 1

    def separator(self) -> Waiting[tuple[str, str]]:
        """Read a comma or several; the white space before and behind."""
        before, after = (yield from self.gap()), ""
        while (yield from self.source.skip(",")):
            after += yield from self.gap()
        return before, after

    def key(self) -> Waiting[tuple[str, str] | None]:
        """Read a key and its colon: both as they are written, with the white space after the key.
        None when there is none, and when the end cuts it off."""
        parts: list[str] = []
        char = yield from self.next()
        if (yield from self.marked()):
            yield from self.verbatim(parts.append)
        elif char in "\"'":
            if not (yield from self.characters(parts.append, ":=,}")):
                return None
        else:
            parts = [escaped((yield from self.source.match(BARE_KEY)))]
            if parts == [""]:
                self.source.at += 1
                return None
        key = f'"{"".join(parts)}"'
        before = yield from self.gap()
        self.source.at += (yield from self.next()) in (":", "=")
        after = yield from self.gap()
        return key, f"{key}{before}:{after}"

    def string(self, schema: Schema, write: Write) -> Waiting[None]:
        """A string; one that may be none is held until all of it is there."""
        parts: list[str] = []
        streams = schema.takes("string")
        put: Write = write if streams else parts.append
        put('"')
        if (yield from self.marked()):
            yield from self.verbatim(put)
        else:
            yield from self.characters(put, ",}]")
        put('"')
        if not streams:
            text = "".join(parts)
            write(meant(unquoted(text), schema) or text)

    def verbatim(self, write: Write) -> Waiting[None]:
        """A string between two `quote`, in which nothing is an escape."""
        yield from self.source.skip(self.quote)
        while True:
            text, ended = self.source.part(markers(self.quote))
            write(escaped(text))
            if ended or self.source.over:
                return
            yield

    def characters(self, write: Write, followers: str) -> Waiting[bool]:
        """A string between quotes, which are not written; whether the second was there."""
        source = self.source
        quote = source.text[source.at]
        source.at += 1
        while True:
            found = SPECIAL.search(source.text, source.at)
            end = found.start() if found else len(source.text)
            if end > source.at:
                write(source.text[source.at : end])
                source.at = end
            if not found:
                if source.over:
                    return False
                yield
            elif found[0] == "\\":
                write((yield from self.escape()))
            elif found[0] == quote and (yield from self.closes(followers)):
                source.at += 1
                return True
            else:
                source.at += 1
                write("'" if found[0] == "'" else escaped(found[0]))

    def escape(self) -> Waiting[str]:
        """Read a backslash and what belongs to it; what the end cuts off is left out."""
        source = self.source
        source.at += 1
        char = yield from source.peek()
        if not char or char in '"\\/bfnrt':
            source.at += len(char)
            return "\\" + char if char else ""
        if char == "'":
            source.at += 1
            return "'"
        if char in "ux":
            digits = 4 if char == "u" else 2
            while len(source.text) < source.at + 1 + digits and not source.over:
                yield
            code = source.text[source.at + 1 : source.at + 1 + digits]
            if len(code) == digits and HEX.fullmatch(code):
                source.at += 1 + digits
                return "\\u" + code.rjust(4, "0")
            if source.over and source.at + 1 + len(code) == len(source.text) and HEX.fullmatch(code):
                source.at = len(source.text)
                return ""
        return "\\\\"

    def closes(self, followers: str) -> Waiting[bool]:
        """Whether the quote that comes next ends its string, by what stands behind it."""
        source = self.source
        start = at = source.at + 1
        while source.text[at : at + 1].isspace() or (at >= len(source.text) and not source.over):
            if at >= len(source.text):
                yield
            else:
                at += 1
        char = source.text[at : at + 1]
        if not char or char in followers or (char in "\"'" and at > start):
            return True
        for mark in (self.stop, "//", "/*", "#"):
            if (yield from source.begins(mark, at)):
                return True
        return False

    def bare(self, schema: Schema, write: Write) -> Waiting[None]:
        """A number, a word, or text without quotes."""
        source, text = self.source, ""
        while True:
            char = yield from self.next()
            if not char or char in ',}]"\n' or (char in "#/" and text[-1:].isspace()):
                break
            text += char
            source.at += 1
        word = text.rstrip()
        source.at -= len(text) - len(word)
        found = literal(word)
        if found is None or (not schema.takes(kind(found)) and schema.takes("string") and found != "null"):
            found = quoted(word)
        write(found)


def meant(text: str, schema: Schema) -> str | None:
    """The JSON text of what is no string and `schema` takes, which `text` writes; None when it does not."""
    word = text.strip()
    found = literal(word) or literal(word.capitalize())
    if not found and word[:1] in CLOSERS:
        found = whole(word, schema)
    if found and kind(found) == "number" and not schema.takes("number"):
        return None
    if not found or kind(found) == "string" or not schema.takes(kind(found)):
        return None
    return found


def whole(text: str, schema: Schema) -> str | None:
    """The JSON text of the container that is all of `text`; held to `schema` if that says what it is."""
    try:
        return text if json.loads(text) is not None and not schema.types else repaired(text, schema)
    except (ValueError, RecursionError):
        source = Source(text, over=True)
        found = complete(NearJson(source).collected(schema))
        return found if schema.types and source.at == len(text) else None


def converted(text: str, schema: Schema) -> str:
    """The JSON text of a value that was written without quotes, as in XML."""
    if schema.types == {"string"}:
        return quoted(text)
    return meant(text, schema) or quoted(text)


def repaired(text: str, schema: Schema = ANY) -> str:
    """The JSON text that `text` means; valid JSON that `schema` holds for is itself."""
    source = Source(text, over=True)
    near = NearJson(source)
    lead = complete(near.gap())
    return lead + complete(near.collected(schema)) + complete(near.gap())


def complete(reading: Waiting[str]) -> str:
    """What a reader returns that has all its text."""
    while True:
        try:
            next(reading)
        except StopIteration as end:
            found: str = end.value
            return found
