"""Calls that a server returned as text: found when the answer has ended, and until then kept from the screen.

Text is a call only when nothing else can be meant: in a known form, of tools that are offered, and with
nothing but calls behind it. Prose about a call, a call in a code block with words around it, and a call
inside of thoughts are text.
"""

import re
from typing import NamedTuple

from cli.agent.dialects import (
    FORMS,
    NAMESPACES,
    WHOLE,
    Cursor,
    Form,
    Offered,
    Reader,
    Wanted,
    bare_name,
    several,
)

# So much text says whether what looks like the beginning of a call is one.
ENOUGH = 200
# An answer with more marks than that which begin no call is about calls, or has gone mad.
TRIES = 8
THOUGHT, THOUGHT_END = "<think>", "</think>"
OPENINGS = {form.mark: form for form in FORMS}
MARKS = re.compile("|".join(re.escape(mark) for mark in OPENINGS))
HELD = (*OPENINGS, THOUGHT_END)
OBJECT = re.compile(
    r"""(?:```(?:json|tool_call)?\s*)?(?:\[\s*)?\{\s*["']?"""
    r"""(?:name|type|id|function|tool|tool_name|tool_call_id|arguments|parameters|args)\b"""
)


class Rescued(NamedTuple):
    """What an answer's text was: `text` the words that were not shown yet, then the calls."""

    text: str
    calls: list[Wanted]


class Sieve:
    """The text of one answer as it comes: `feed` gives what may be shown, `rest` what is left at the end."""

    def __init__(self, offered: Offered) -> None:
        self.offered = offered
        self.parts: list[str] = []
        # The end of the text that is not shown yet, while it is not sure that it is a call.
        self.pending = ""
        self.shown = 0
        # Whether nothing was said yet but thoughts, and whether the rest is held to the answer's end.
        self.fresh, self.sure = True, False
        self.refused = 0
        self.starts = tuple(space + name for name in offered for space in NAMESPACES)
        names = "|".join(re.escape(start) for start in self.starts)
        self.python = re.compile(rf"(?:```tool_code\s*)?\[?\s*(?:{names})\s*\(")

    def feed(self, piece: str) -> str:
        self.parts.append(piece)
        if not self.offered or self.refused > TRIES:
            piece, self.pending = self.pending + piece, ""
            self.shown += len(piece)
            return piece
        if self.sure:
            return ""
        self.pending += piece
        # White space before a call is the form's: it waits for the word behind it.
        show = self.pending[: self._clear()].rstrip()
        self.pending = self.pending[len(show) :]
        self.shown += len(show)
        return show

    def rest(self, *, cut: bool = False) -> Rescued:
        """An answer that was cut off holds no calls: half a call is not what the model meant.

        Calls that need a repair take their time: not for the event loop.
        """
        text = "".join(self.parts)
        none = cut or not self.offered or self.refused > TRIES
        start, calls = (len(text), []) if none else rescue(text, self.offered)
        said = text[:start].rstrip() if calls else text
        return Rescued(said[self.shown :], calls)

    def _clear(self) -> int:
        """How much of `pending` is no part of a call."""
        base = self.pending.rfind(THOUGHT_END)
        base = 0 if base < 0 else base + len(THOUGHT_END)
        self.fresh = self.fresh or base > 0
        text = self.pending[base:]
        if self.fresh and text.strip():
            match self._opens(text.lstrip()):
                case None:
                    return base
                case True:
                    self.sure = True
                    return base
                case False:
                    self.fresh = False
        return base + self._marked(text)

    def _opens(self, body: str) -> bool | None:
        """Whether the whole answer is a call, going by how it begins; None when more must be seen."""
        if OBJECT.match(body) or self.python.match(body):
            return True
        word = body.rstrip()
        may = body[0] in "{[`" or any(start.startswith(word) or word == start for start in self.starts)
        return None if may and len(body) < ENOUGH else False

    def _marked(self, text: str) -> int:
        """Where in `text`, which `pending` ends with, a call begins or may begin; its length if nowhere."""
        for found in MARKS.finditer(text):
            if self.refused > TRIES:
                return len(text)
            whole = "".join(self.parts)
            verdict = begins(OPENINGS[found[0]], whole, len(whole) - len(text) + found.start())
            if verdict is not False:
                self.sure = verdict is True
                return found.start()
            self.refused += 1
        for at in range(max(0, len(text) - max(map(len, HELD))), len(text)):
            if text[at] in "<[" and any(mark.startswith(text[at:]) for mark in HELD):
                return at
        return len(text)


def rescue(text: str, offered: Offered) -> tuple[int, list[Wanted]]:
    """Where the calls begin that `text` ends with, and these; its length and none when there are none."""
    thought = text.find(THOUGHT_END)
    behind = 0 if thought < 0 else thought + len(THOUGHT_END)
    if not behind and text.lstrip().startswith(THOUGHT):
        return len(text), []
    for start in sorted({0, behind}):
        for read in WHOLE:
            if calls := to_the_end(Cursor(text, start, offered), read):
                return start, calls
    at, tries = behind if text.lstrip().startswith(THOUGHT) else 0, 0
    while tries <= 2 * TRIES and (found := MARKS.search(text, at)):
        tries += 1
        form, cursor = OPENINGS[found[0]], Cursor(text, found.start(), offered)
        if stands_alone(form, text, found.start()) and (calls := to_the_end(cursor, form.read)):
            return found.start(), calls
        # What was read as calls but has words behind it has them behind its last part, too.
        at = max(cursor.at, found.start() + 1)
    return len(text), []


def to_the_end(cursor: Cursor, read: Reader) -> list[Wanted]:
    """The calls up to the end of the text; none if there is more, or one is of no tool that is offered."""
    calls = several(cursor, read)
    known = all(bare_name(call.name) in cursor.offered for call in calls)
    return calls if known and cursor.ended() else []


def begins(form: Form, text: str, start: int) -> bool | None:
    """Whether the form begins at `start`; None when more must be seen."""
    if not stands_alone(form, text, start):
        return False
    behind = text[start + len(form.mark) :].lstrip()
    if re.match(form.follows, behind):
        return True
    return None if len(behind) < ENOUGH else False


def stands_alone(form: Form, text: str, start: int) -> bool:
    """Whether the mark is meant as one: not shown in a code block, nor where only prose would have it."""
    if text.count("```", 0, start) % 2:
        return False
    return not form.own_line or not text[text.rfind("\n", 0, start) + 1 : start].strip()
