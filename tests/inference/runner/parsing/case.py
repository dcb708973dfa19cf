"""What a case of the parser is, and how an answer is fed to it."""

import json
from collections.abc import Iterable
from typing import NamedTuple

from inference.request import Tool
from inference.runner.parsing.pieces import Arguments, CallBegins, Content, Piece, Thought, joined
from inference.runner.parsing.stream import parser

STRING, INTEGER, NUMBER = {"type": "string"}, {"type": "integer"}, {"type": "number"}
TOOLS = [
    Tool("now"),
    Tool("weather", "", {"type": "object", "properties": {"city": STRING, "days": INTEGER}}),
    Tool(
        "save",
        "",
        {
            "type": "object",
            "properties": {
                "path": STRING,
                "text": STRING,
                "mode": {"type": "integer"},
                "ratio": NUMBER,
                "force": {"type": "boolean"},
                "owner": {"anyOf": [STRING, {"type": "null"}]},
                "tags": {"type": "array", "items": STRING},
                "meta": {"type": "object", "properties": {"deep": {"type": "object"}}},
                "any": {},
            },
        },
    ),
]


class Made(NamedTuple):
    """A call as it is expected; `arguments` is its JSON text, byte for byte, or the value it means."""

    name: str
    arguments: str | dict[str, object]
    id: str | None = None


Expected = Content | Thought | Made


class Case(NamedTuple):
    name: str
    template: str
    text: str
    expected: list[Expected]
    tools: list[Tool] = TOOLS
    prompt: str = ""
    forced: bool = False


def said(case: Case, chunks: Iterable[str]) -> list[Piece]:
    """The pieces of an answer that comes in `chunks`, neighbours of a kind joined."""
    one = parser(case.template, case.prompt, case.tools, forced=case.forced)
    pieces = [piece for chunk in chunks for piece in one.feed(chunk)]
    return joined(pieces + one.end())


def gathered(pieces: list[Piece]) -> list[Expected]:
    """Pieces as they are expected: each call with its arguments. Asserts what holds for all."""
    found: list[Expected] = []
    calls: list[int] = []
    for at, piece in enumerate(pieces):
        match piece:
            case CallBegins(call, name, id):
                assert call == len(calls)
                calls.append(call)
                following = pieces[at + 1] if at + 1 < len(pieces) else None
                assert isinstance(following, Arguments), "every call has arguments"
                assert following.call == call
                assert json.loads(following.text) is not None
                found.append(Made(name, following.text, id))
            case Content() | Thought():
                assert piece.text
                found.append(piece)
    assert sum(isinstance(piece, Arguments) for piece in pieces) == len(calls)
    return found


def like(expected: list[Expected], found: list[Expected]) -> list[Expected]:
    """`found`, with the arguments as values where `expected` has values."""
    return [
        one._replace(arguments=json.loads(one.arguments))
        if isinstance(one, Made)
        and isinstance(one.arguments, str)
        and at < len(expected)
        and isinstance(expected[at], Made)
        and not isinstance(expected[at].arguments, str)
        else one
        for at, one in enumerate(found)
    ]
