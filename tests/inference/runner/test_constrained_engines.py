"""Both engines under a constraint: an untrained model says what is valid, alone and beside others."""

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from inference.request import Assignment, Chat, Function, Generate, JsonSchema, Message, Sampling, Tool
from inference.runner.constrain import constraint
from inference.runner.engine import Engine, Job
from inference.runner.parsing.stream import Arguments, CallBegins, parser
from inference.runner.session import ENGINES
from inference.runner.tokenizer import Tokenizer
from tests.inference.gguf import write_tiny

PLACE = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 9},
        "kind": {"enum": ["town", "river"]},
        "sizes": {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 9}, "maxItems": 2},
    },
    "required": ["name", "kind", "sizes"],
    "additionalProperties": False,
}
TOOLS = [Tool("find", "Find a place.", PLACE), Tool("now")]

Loaded = tuple[Tokenizer, Engine]


@pytest.fixture(scope="module", params=["mlx", "gguf"])
def loaded(
    request: pytest.FixtureRequest, models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Loaded]:
    path = models / "opta-tiny"
    if request.param == "gguf":
        path = write_tiny(tmp_path_factory.mktemp("gguf") / "opta-tiny.gguf", path)
    package = importlib.import_module(ENGINES[request.param])
    yield package.load(Assignment(request.param, str(path), "chat", 2048, 2**20))


def answers(loaded: Loaded, *wanted: Generate) -> list[tuple[str, str | None]]:
    """What the engine says to each, all in one batch, and how each ended."""
    tokenizer, engine = loaded
    said: dict[int, list[int]] = {}
    ends: dict[int, str | None] = {}
    for one in wanted:
        assert isinstance(one.prompt, Chat)
        prompt = tokenizer.render(one.prompt)
        held = constraint(one, tokenizer, prompt)
        most = one.max_tokens or 300
        engine.admit(Job(one.id, tokenizer.encode(prompt), most, one.sampling, constraint=held))
        said[one.id] = []
    while engine.busy:
        for token in engine.step(512).tokens:
            ends[token.id] = token.finish
            if token.finish != "stop":
                said[token.id].append(token.token)
    return [(tokenizer.decode(said[one.id]), ends[one.id]) for one in wanted]


def asking(id: int, *, temperature: float = 0.0, tools: list[Tool] = [], **wanted: Any) -> Generate:  # noqa: B006
    sampling = Sampling(temperature=temperature, seed=id)
    return Generate(id, Chat([Message("user", "Where?")], tools), sampling=sampling, **wanted)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_an_answer_is_valid_by_its_schema(loaded: Loaded, temperature: float):
    schema = jsonschema_rs.Draft202012Validator(PLACE)
    wanted = [asking(id, temperature=temperature, format=JsonSchema(PLACE)) for id in (1, 2)]
    for text, ended in answers(loaded, *wanted):
        assert ended == "stop"
        schema.validate(json.loads(text))


def test_each_answer_of_a_batch_is_held_to_its_own(loaded: Loaded):
    free, first, second = answers(
        loaded,
        asking(1, max_tokens=40),
        asking(2, format=JsonSchema({"const": "first"})),
        asking(3, format=JsonSchema({"const": ["second", 2]})),
    )
    assert free == answers(loaded, asking(1, max_tokens=40))[0]
    assert (json.loads(first[0]), json.loads(second[0])) == ("first", ["second", 2])


def test_a_required_call_is_one_that_the_parser_reads(loaded: Loaded):
    wanted = asking(1, tools=TOOLS, tool_choice=Function("find"))
    ((text, ended),) = answers(loaded, wanted)
    assert ended == "stop"
    reader = parser(loaded[0].template, "", TOOLS, forced=True)
    pieces = [*reader.feed(text), *reader.end()]
    assert [piece.name for piece in pieces if isinstance(piece, CallBegins)] == ["find"]
    given = json.loads("".join(piece.text for piece in pieces if isinstance(piece, Arguments)))
    jsonschema_rs.Draft202012Validator(PLACE).validate(given)


def test_an_answer_that_is_cut_says_so(loaded: Loaded):
    ((text, ended),) = answers(loaded, asking(1, max_tokens=5, format=JsonSchema(PLACE)))
    assert ended == "length"
    assert text.startswith("{")
