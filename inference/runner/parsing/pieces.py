"""An answer's text, cut as it comes into content, reasoning and tool calls."""

from typing import NamedTuple, Protocol


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


def joined(pieces: list[Piece]) -> list[Piece]:
    """`pieces`, with neighbours of a kind made one."""
    found = pieces[:1]
    for piece in pieces[1:]:
        match found[-1], piece:
            case Content(before), Content(text):
                found[-1] = Content(before + text)
            case Thought(before), Thought(text):
                found[-1] = Thought(before + text)
            case Arguments(call, before), Arguments(same, text) if call == same:
                found[-1] = Arguments(call, before + text)
            case _:
                found.append(piece)
    return found
