"""An answer's text, cut as it comes into content, reasoning and tool calls."""

from typing import NamedTuple, Protocol

from inference.request import Tool


class Content(NamedTuple):
    text: str


class Thought(NamedTuple):
    """A part of the reasoning."""

    text: str


class CallBegins(NamedTuple):
    """Call number `call`, from 0; `id` is the model's own, when its format has one."""

    call: int
    name: str
    id: str | None = None


class Arguments(NamedTuple):
    """More of the JSON text of a call's arguments."""

    call: int
    text: str


Piece = Content | Thought | CallBegins | Arguments


class Parser(Protocol):
    """However the text is cut into calls of `feed`, the same pieces come, joined where they are of a kind."""

    # Whether the end of what was fed is reasoning.
    thinking: bool

    def feed(self, text: str) -> list[Piece]:
        """The pieces that are certain now."""

    def end(self) -> list[Piece]:
        """The rest, now that nothing follows."""


class Through:
    """For a model without markers: everything is content."""

    thinking = False

    def feed(self, text: str) -> list[Piece]:
        return [Content(text)] if text else []

    def end(self) -> list[Piece]:
        return []


def parser(template: str | None, prompt: str, tools: list[Tool], *, forced: bool) -> Parser:
    """The parser for an answer that follows `prompt`, the text that `template` made.

    `tools` are those the model was offered (none for tool_choice none); `forced` says that a grammar
    makes it call one.
    """
    return Through()
