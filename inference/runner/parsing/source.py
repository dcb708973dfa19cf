"""The text of an answer that has come and is not read yet.

Readers are generators that `yield` to wait for more text. They decide by the text alone, never by where
it was cut: hence the same pieces come however it was.
"""

import re
from collections.abc import Generator
from functools import cache
from typing import TypeVar

T = TypeVar("T")
# What a reader is: it yields to wait, and returns a T.
Waiting = Generator[None, None, T]

SPACES = re.compile(r"\s*")
NOTHING = re.compile(r"(?!)")


class Markers:
    """Some strings to look for, none of which is the beginning of another."""

    def __init__(self, markers: tuple[str, ...]) -> None:
        self.pattern = re.compile("|".join(map(re.escape, markers))) if markers else NOTHING
        self.beginnings = {marker[:length] for marker in markers for length in range(1, len(marker))}
        self.longest = max(map(len, markers), default=1)

    def unsure(self, text: str, start: int) -> int:
        """Where in `text`, from `start`, a marker may begin that its end cuts off; else its length."""
        for at in range(max(start, len(text) - self.longest + 1), len(text)):
            if text[at:] in self.beginnings:
                return at
        return len(text)


@cache
def markers(*wanted: str) -> Markers:
    return Markers(tuple(dict.fromkeys(marker for marker in wanted if marker)))


class Source:
    def __init__(self, text: str = "", *, over: bool = False) -> None:
        self.text, self.at, self.over = text, 0, over

    def add(self, text: str) -> None:
        self.text += text

    def forget(self) -> None:
        """Let go of what was read; positions noted before mean nothing after."""
        self.text, self.at = self.text[self.at :], 0

    def peek(self) -> Waiting[str]:
        """The next character; "" at the end."""
        while self.at >= len(self.text):
            if self.over:
                return ""
            yield
        return self.text[self.at]

    def begins(self, marker: str, at: int | None = None) -> Waiting[bool]:
        """Whether `marker` comes next, or at `at`; "" never does."""
        start = self.at if at is None else at
        while marker:
            if self.text.startswith(marker, start):
                return True
            if self.over or not marker.startswith(self.text[start : start + len(marker)]):
                return False
            yield
        return False

    def skip(self, marker: str) -> Waiting[bool]:
        """Read `marker` if it comes next."""
        found = yield from self.begins(marker)
        self.at += len(marker) * found
        return found

    def match(self, pattern: re.Pattern[str]) -> Waiting[str]:
        """Read all that `pattern` matches, which is some class of characters repeated."""
        start = self.at
        while True:
            found = pattern.match(self.text, self.at)
            self.at = found.end() if found else self.at
            if self.at < len(self.text) or self.over:
                return self.text[start : self.at] if self.at > start else ""
            yield

    def spaces(self) -> Waiting[str]:
        return self.match(SPACES)

    def until(self, wanted: Markers) -> Waiting[tuple[str, str]]:
        """Read up to the first of the markers and it too; at the end, the rest and ""."""
        start = sure = self.at
        while True:
            if found := wanted.pattern.search(self.text, sure):
                self.at = found.end()
                return self.text[start : found.start()], found.group()
            if self.over:
                self.at = len(self.text)
                return self.text[start:], ""
            sure = wanted.unsure(self.text, sure)
            yield

    def part(self, wanted: Markers) -> tuple[str, str]:
        """Read what is certain now of the text before the markers, and the marker that ends it or ""."""
        start = self.at
        if found := wanted.pattern.search(self.text, start):
            self.at = found.end()
            return self.text[start : found.start()], found.group()
        self.at = len(self.text) if self.over else wanted.unsure(self.text, start)
        return self.text[start : self.at], ""
