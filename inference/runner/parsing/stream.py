"""The parser of an answer, by the template that made its prompt."""

from inference.request import Tool
from inference.runner.parsing import reasoning
from inference.runner.parsing.pieces import Arguments, CallBegins, Content, Parser, Piece, Thought
from inference.runner.parsing.reading import Reading
from inference.runner.parsing.tools.families import family

__all__ = ["Arguments", "CallBegins", "Content", "Parser", "Piece", "Thought", "Through", "parser"]


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
    found, thoughts = family(template, forced=forced), reasoning.row(template)
    calls = tools and (found.opens or found.bare)
    if thoughts == reasoning.NONE and not calls and not found.envelope:
        return Through()
    thinking = reasoning.begun(template, prompt)
    return Reading(found, thoughts, tools, thinking=thinking, forced=forced, prompt=prompt)
