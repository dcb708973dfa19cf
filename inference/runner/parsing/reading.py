"""Reading one answer: what its text says goes to content, what it thinks to reasoning, its calls to calls."""

import re
from collections.abc import Callable
from typing import NamedTuple

from inference.request import Tool
from inference.runner.parsing.pieces import Arguments, CallBegins, Content, Piece, Thought, joined
from inference.runner.parsing.reasoning import Reasoning
from inference.runner.parsing.schema import Schema
from inference.runner.parsing.source import Source, Waiting, markers

NAME = re.compile(r"[\w.:/@-]{1,128}")
ID = re.compile(r"[!-~]{1,128}")


class Written(NamedTuple):
    """How a call is written whose arguments are JSON, for a grammar that makes the model write one:

    opens, then for each call: before, its name, between, its arguments, after; then closes. Between two
    calls stands `separator`; a format that knows one call at a time has None.
    """

    before: str
    between: str
    after: str
    opens: str = ""
    closes: str = ""
    separator: str | None = ""


class Family(NamedTuple):
    """How the models of a family write calls."""

    name: str
    # Strings of which one stands in the chat template of such a model.
    told_by: tuple[str, ...]
    # Strings that a call, or several, begin with.
    opens: tuple[str, ...]
    # Reads what follows one of them, and says whether it was a call; if not, it has written nothing.
    read: Callable[["Reading", str], Waiting[bool]]
    # None where arguments are not JSON: a grammar then makes the model write PLAIN.
    written: Written | None = None
    # Calls may stand at the very beginning of the answer with nothing before them.
    bare: Callable[["Reading"], Waiting[bool]] | None = None
    # Reads an answer that is made of messages, in place of `Reading.plain`.
    envelope: Callable[["Reading"], Waiting[None]] | None = None


class Strand:
    """The text of one kind. White space at its end waits: beside a call or a marker it is the format's."""

    def __init__(self, kind: type[Content] | type[Thought], out: list[Piece]) -> None:
        self.kind, self.out = kind, out
        self.held = self.trims = ""
        # Whether it has any text, and whether it has none since the last call.
        self.said, self.fresh = False, True

    def write(self, text: str) -> None:
        if self.trims and text:
            text = text.lstrip(self.trims)
            self.trims = "" if text else self.trims
        text = self.held + text
        body = text.rstrip()
        self.held = text[len(body) :]
        if body:
            self.out.append(self.kind(body))
            self.said, self.fresh = True, False

    def flush(self) -> None:
        if self.held:
            self.out.append(self.kind(self.held))
        self.held = ""


class Call:
    """One call; `write` adds to its arguments."""

    def __init__(self, number: int, schema: Schema, out: list[Piece]) -> None:
        self.number, self.schema, self.out = number, schema, out

    def write(self, text: str) -> None:
        if text:
            self.out.append(Arguments(self.number, text))


class Reading:
    """The Parser of one answer."""

    def __init__(
        self,
        family: Family,
        reasoning: Reasoning,
        tools: list[Tool],
        *,
        thinking: bool,
        forced: bool,
        prompt: str,
    ) -> None:
        self.family, self.reasoning, self.prompt = family, reasoning, prompt
        self.forced = forced
        self.tools = {tool.name: tool for tool in tools}
        self.thinking = thinking
        self.source = Source()
        self.out: list[Piece] = []
        self.content, self.thought = Strand(Content, self.out), Strand(Thought, self.out)
        self.thought.trims = "\n"
        self.opens = family.opens if tools else ()
        self.calls = 0
        self.ids: set[str] = set()
        # Only a name that was offered makes a call: where text alone may look like one.
        self.strict = False
        self.steps = family.envelope(self) if family.envelope else self.plain()

    def feed(self, text: str) -> list[Piece]:
        self.source.add(text)
        return self.advance()

    def end(self) -> list[Piece]:
        self.source.over = True
        return self.advance()

    def advance(self) -> list[Piece]:
        next(self.steps, None)
        found = joined(self.out)
        self.out.clear()
        # A grammar lets nothing come but calls: other text is the beginning of one that was cut off.
        return [piece for piece in found if not isinstance(piece, Content)] if self.forced else found

    def begin(self, name: str, id: str | None = None) -> Call | None:
        """The next call; None when `name` makes none here."""
        if name not in self.tools and (self.strict or self.thinking or not NAME.fullmatch(name)):
            return None
        self.thinking = False
        self.thought.held = ""
        self.content.held = ""
        if not self.content.said:
            self.content.trims = " \t\r\n"
        self.content.fresh = True
        id = id if id and ID.fullmatch(id) and id not in self.ids else None
        self.ids |= {id} if id else set()
        self.out.append(CallBegins(self.calls, name, id))
        self.calls += 1
        parameters = self.tools[name].parameters if name in self.tools else {}
        return Call(self.calls - 1, Schema({**parameters, "type": "object"}), self.out)

    def plain(self) -> Waiting[None]:
        """An answer of content, with reasoning and calls in it."""
        opens, closes, _, anywhere = self.reasoning
        reasoned = self.thinking
        if self.thinking:
            yield from self.reason()
        while True:
            yield from self.try_bare()
            marker = yield from self.talk(self.content, opens, closes)
            if not marker:
                break
            if marker == opens and (anywhere or self.content.fresh):
                reasoned = True
                yield from self.reason()
            elif marker == closes and not reasoned:  # the model left out the opening
                reasoned, self.content.trims, self.content.held = True, "\n", ""
            elif marker != closes or not anywhere:
                reasoned = True  # where one marker is text, so is the other
                self.content.write(marker)
        if not self.calls:
            self.content.flush()

    def reason(self) -> Waiting[None]:
        """Read reasoning up to its end, or to a call in it."""
        self.thinking, self.thought.trims = True, "\n"
        self.content.held = ""
        again = self.reasoning.opens
        yield from self.source.spaces()
        yield from self.source.skip(again)  # the prompt had opened it, and the model did once more
        marker = yield from self.talk(self.thought, self.reasoning.closes)
        self.thinking = False
        if marker == self.reasoning.closes:
            self.thought.held = ""
            self.content.trims = "\n"
        else:
            self.thought.flush()

    def talk(self, strand: Strand, *ends: str) -> Waiting[str]:
        """Read text to `strand` up to one of `ends`, which is returned; "" at the end of all, and at a call
        that ends reasoning."""
        silent = self.reasoning.silent
        wanted = markers(*ends, *self.opens, *silent)
        while True:
            text, marker = self.source.part(wanted)
            strand.write(text)
            if marker in silent:
                continue
            if marker in ends and marker:
                return marker
            if marker:
                if (yield from self.called(strand, marker)) and strand is self.thought:
                    return ""
            elif self.source.over:
                return ""
            else:
                self.source.forget()
                yield

    def called(self, strand: Strand, marker: str) -> Waiting[bool]:
        """Read the call that `marker` begins; it is text of `strand` if none follows."""
        at = self.source.at
        if (yield from self.family.read(self, marker)):
            return True
        self.source.at = at
        strand.write(marker)
        return False

    def try_bare(self) -> Waiting[None]:
        """Read calls that stand at the beginning of the content without a marker, if these can."""
        read = self.family.bare
        if not read or not self.tools or not self.content.fresh:
            return
        start = self.source.at
        self.strict = True
        if not (yield from read(self)):
            self.source.at = start
        self.strict = False
