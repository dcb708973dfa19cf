"""Tool calls and reasoning under a grammar: in each family's own words, and its parser reads them back."""

import json
import random
from typing import Any, NamedTuple

import jsonschema_rs
import pytest

from inference.errors import RunnerRefused
from inference.request import AnyJson, Chat, Function, Generate, JsonSchema, Tool
from inference.runner.constrain import constraint
from inference.runner.parsing.stream import Arguments, CallBegins, Content, Piece, parser
from tests.inference.runner.vocabulary import Vocabulary, allowed, asked, spoken, takes, vocabulary

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 8}, "days": {"$ref": "#/$defs/days"}},
    "required": ["city", "days"],
    "additionalProperties": False,
    "$defs": {"days": {"type": "integer", "minimum": 1, "maximum": 14}},
}
NOTHING: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
TOOLS = [Tool("get_weather", "", CITY), Tool("now", "", NOTHING)]
STRICT = [Tool(tool.name, "", tool.parameters, strict=True) for tool in TOOLS]
SCHEMAS = {tool.name: tool.parameters for tool in TOOLS}
ANSWER = {"type": "object", "properties": {"mood": {"enum": ["good", "bad"]}}, "required": ["mood"]}

HERMES = vocabulary("<tool_call></tool_call>")
THINKING = vocabulary("<think></think><tool_call></tool_call>", "<think>", "</think>")
# The markers of each family, which its template names.
MARKERS = {
    "hermes": "<tool_call> </tool_call>",
    "mistral": "[TOOL_CALLS]",
    "granite": "<|tool_call|> <|/tool_call|>",
    "deepseek": "<｜tool▁calls▁begin｜> <｜tool▁call▁begin｜> <｜tool▁sep｜> <｜tool▁call▁end｜> "
    "<｜tool▁calls▁end｜>",
    "kimi": "<|tool_calls_section_begin|> <|tool_call_begin|> <|tool_call_argument_begin|> <|tool_call_end|> "
    "<|tool_calls_section_end|>",
    "harmony": "<|channel|> <|message|> <|start|> <|end|> <|constrain|> <|call|>",
    "llama": "<|python_tag|>",
    # These write no JSON of their own.
    "coder": "<tool_call> <function= <parameter=",
    "glm": "<tool_call> <arg_key>",
    "none": "",
}
CHANNELS = "<|channel|>analysis<|message|> <|channel|>final<|message|> to=functions."


def speakers(*names: str) -> pytest.MarkDecorator:
    """A model of each family: its markers are tokens of their own, or text."""
    made = {
        f"{name}-{kind}": vocabulary(CHANNELS if name == "harmony" else MARKERS[name], *markers)
        for name in names or MARKERS
        for kind, markers in (("tokens", MARKERS[name].split()), ("text", []))
    }
    return pytest.mark.parametrize("words", made.values(), ids=made.keys())


class Read(NamedTuple):
    """What the family's parser makes of an answer."""

    content: str
    calls: list[tuple[str, Any]]


def read(words: Vocabulary, text: str, *, forced: bool = False, prompt: str = "") -> Read:
    reader = parser(words.template, prompt, TOOLS, forced=forced)
    pieces: list[Piece] = [*reader.feed(text), *reader.end()]
    names = [piece.name for piece in pieces if isinstance(piece, CallBegins)]
    arguments = [
        "".join(piece.text for piece in pieces if isinstance(piece, Arguments) and piece.call == call)
        for call in range(len(names))
    ]
    content = "".join(piece.text for piece in pieces if isinstance(piece, Content))
    return Read(content, list(zip(names, map(json.loads, arguments), strict=True)))


def prompt(words: Vocabulary) -> str:
    return "<|start|>assistant" if "<|channel|>" in words.template else ""


def said(words: Vocabulary, seed: int, **wanted: Any) -> str:
    """What is said until it ends of itself."""
    for attempt in range(20):
        held = asked(words, prompt(words), **wanted)
        assert held
        text, ended = spoken(held, words, random.Random(seed * 20 + attempt))
        if ended:
            return text
    raise AssertionError(text)


def valid(calls: list[tuple[str, Any]]) -> bool:
    return all(jsonschema_rs.Draft202012Validator(SCHEMAS[name]).is_valid(given) for name, given in calls)


@speakers()
@pytest.mark.parametrize("seed", range(2))
def test_a_required_call_is_made_and_read(words: Vocabulary, seed: int):
    found = read(
        words, said(words, seed, tools=TOOLS, tool_choice="required"), forced=True, prompt=prompt(words)
    )
    assert found.calls
    assert valid(found.calls)
    assert found.content == ""


@speakers()
def test_a_named_function_is_called_once(words: Vocabulary):
    text = said(words, 1, tools=TOOLS, tool_choice=Function("get_weather"))
    (call,) = read(words, text, forced=True, prompt=prompt(words)).calls
    assert call[0] == "get_weather"
    assert valid([call])


@pytest.mark.parametrize("seed", range(4))
def test_calls_in_parallel_are_several_only_where_they_may_be(seed: int):
    several = read(HERMES, said(HERMES, seed, tools=TOOLS, tool_choice="required"))
    assert valid(several.calls)
    one = said(HERMES, seed, tools=TOOLS, tool_choice="required", parallel_tool_calls=False)
    assert len(read(HERMES, one).calls) == 1


def test_several_calls_may_come_in_parallel():
    call = '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'
    several, one = f"{call}\n{call}", call
    for parallel, text, right in ((True, several, True), (False, several, False), (False, one, True)):
        held = asked(HERMES, tools=TOOLS, tool_choice="required", parallel_tool_calls=parallel)
        assert held
        assert takes(held, HERMES, text) is right


GOOD = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome", "days": 3}}\n</tool_call>'
BAD = [
    GOOD.replace("3", "15"),
    GOOD.replace("get_weather", "get_time"),
    GOOD.replace('"city": "Rome", ', ""),
    GOOD.replace("Rome", "Rome, as it was"),
]


@pytest.mark.parametrize("words", [HERMES, THINKING], ids=["text", "thinking"])
@pytest.mark.parametrize("before", ["", "I will look. ", "a < b <tool "])
def test_a_strict_tool_is_free_to_be_called_but_not_in_its_arguments(words: Vocabulary, before: str):
    for text, right in ((before, True), (before + GOOD, True), *((before + bad, False) for bad in BAD)):
        held = asked(words, tools=STRICT)
        assert held
        assert takes(held, words, text) is right, text


def test_a_tool_that_is_not_strict_is_held_to_nothing():
    assert asked(HERMES, tools=TOOLS) is None


def test_one_call_at_most_is_held_without_strict_tools_too():
    for text, right in (("so", True), (f"so {GOOD}", True), (f"so {GOOD}\n{GOOD}", False)):
        held = asked(HERMES, tools=TOOLS, parallel_tool_calls=False)
        assert held
        assert takes(held, HERMES, text) is right


def test_a_marker_that_is_a_token_cannot_be_said_as_text():
    words = vocabulary("<tool_call></tool_call>", "<tool_call>", "</tool_call>")
    held = asked(words, tools=TOOLS, tool_choice="required")
    assert held
    assert allowed(held, words) == [words.words.token_to_id("<tool_call>")]


@speakers("hermes", "mistral", "granite", "deepseek", "kimi", "harmony", "llama")
@pytest.mark.parametrize("seed", range(2))
def test_with_tools_a_format_is_for_the_answer_that_calls_none(words: Vocabulary, seed: int):
    text = said(words, seed, tools=STRICT, format=JsonSchema(ANSWER))
    found = read(words, text, prompt=prompt(words))
    if found.calls:
        assert valid(found.calls)
        assert found.content == ""
    else:
        assert jsonschema_rs.Draft202012Validator(ANSWER).is_valid(json.loads(found.content))


@pytest.mark.parametrize("template", ["<tool_call><function=<parameter=", ""])
@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"tools": STRICT}, "tools.0.function.strict"),
        ({"tools": TOOLS, "parallel_tool_calls": False}, "parallel_tool_calls"),
        ({"tools": TOOLS, "format": AnyJson()}, "response_format"),
    ],
)
def test_calls_that_are_no_json_are_refused_where_they_would_have_to_be_held(
    template: str, wanted: dict[str, Any], field: str
):
    with pytest.raises(RunnerRefused) as refused:
        asked(vocabulary(template), **wanted)
    assert (refused.value.status, refused.value.field) == (400, field)


@pytest.mark.parametrize(
    "wanted", [{"tools": TOOLS, "tool_choice": Function("other")}, {"tool_choice": "required"}]
)
def test_a_choice_of_a_tool_that_is_not_there_is_refused(wanted: dict[str, Any]):
    with pytest.raises(RunnerRefused) as refused:
        asked(HERMES, **wanted)
    assert refused.value.field == "tool_choice"


def test_a_tools_schema_is_refused_by_the_tools_place():
    odd = Tool("odd", "", {"type": "object", "properties": {"a": {"not": {}}}})
    with pytest.raises(RunnerRefused) as refused:
        asked(HERMES, tools=[TOOLS[0], odd], tool_choice="required")
    assert refused.value.field == "tools.1.function.parameters"
    assert "not at #/properties/a" in refused.value.message


def test_without_a_chat_there_is_no_tool():
    assert constraint(Generate(1, Chat([], STRICT), tool_choice="none"), HERMES, "") is None


@pytest.mark.parametrize(
    ("prompt", "text", "right"),
    [
        ("<think>\n", 'Well</think>\n\n{"mood": "good"}', True),
        ("<think>\n", '{"mood": "good"}', False),
        ("", '<think>Well</think>{"mood": "good"}', True),
        ("", '{"mood": "good"}', True),
        ("<think>\n\n</think>\n\n", '{"mood": "good"}', True),
        ("<think>\n\n</think>\n\n", '<think></think>{"mood": "good"}', False),
        ("<think>\n", 'Well</think> So {"mood": "good"}', False),
    ],
)
def test_reasoning_comes_before_what_is_held(prompt: str, text: str, right: bool):
    held = asked(THINKING, prompt, format=JsonSchema(ANSWER))
    assert held
    assert takes(held, THINKING, text) is right


def test_reasoning_of_harmony_is_a_message_before_the_answer():
    words = vocabulary(CHANNELS, *MARKERS["harmony"].split())
    held = asked(words, "<|start|>assistant", format=JsonSchema(ANSWER))
    assert held
    thought = "<|channel|>analysis<|message|>Well<|end|><|start|>assistant"
    assert takes(held, words, thought + '<|channel|>final<|message|>{"mood": "bad"}')


@pytest.mark.parametrize("words", [THINKING, vocabulary("<think></think>")], ids=["token", "text"])
@pytest.mark.parametrize("wanted", [{}, {"format": JsonSchema(ANSWER)}], ids=["free", "held"])
@pytest.mark.parametrize(("before", "opening"), [("<think>\n", ""), ("", "<think>")])
@pytest.mark.parametrize("budget", [0, 1, 5])
def test_reasoning_is_closed_after_its_budget(
    words: Vocabulary, wanted: dict[str, Any], before: str, opening: str, budget: int
):
    held = asked(words, before, thinking_budget=budget, **wanted)
    assert held
    thoughts = words.encode(" the model" * 9)[:budget]
    for token in words.encode(opening) + thoughts:
        assert free(held, words, token)
        held.accept(token)
    for token in words.encode("</think>"):
        assert allowed(held, words) == [token]
        held.accept(token)
    if wanted:
        assert takes(held, words, '{"mood": "good"}')
    else:
        assert held.mask() is None


def free(held: Any, words: Vocabulary, token: int) -> bool:
    return held.mask() is None or token in allowed(held, words)


def test_reasoning_that_closes_itself_is_not_closed_again():
    held = asked(THINKING, "<think>\n", thinking_budget=4)
    assert held
    for token in THINKING.encode(" the</think> answer is that of a model"):
        assert held.mask() is None
        held.accept(token)


def test_an_answer_that_begins_without_reasoning_may_speak_of_it():
    held = asked(vocabulary("<think></think>"), thinking_budget=1)
    assert held
    for token in THINKING.encode("the marker"):
        held.accept(token)
    for token in vocabulary("<think></think>").encode("<think> opens the reasoning of a model"):
        assert held.mask() is None
        held.accept(token)


def test_reasoning_is_not_closed_inside_a_character():
    held = asked(THINKING, "<think>\n", thinking_budget=1, format=JsonSchema(ANSWER))
    assert held
    first, *rest = THINKING.encode("😀")
    held.accept(first)
    for token in rest:
        assert token in allowed(held, THINKING)
        held.accept(token)
    assert takes(held, THINKING, '</think>{"mood": "bad"}')


@pytest.mark.parametrize("before", ["", "<think>\n\n</think>\n\n"])
def test_an_answer_without_reasoning_is_within_any_budget(before: str):
    assert asked(THINKING if before else HERMES, before, thinking_budget=5) is None
