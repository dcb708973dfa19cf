"""What is certain comes at once: names, the text of arguments, content, and whether the model thinks."""

import pytest

from inference.runner.parsing.pieces import Arguments, CallBegins, Content, Thought
from inference.runner.parsing.stream import parser
from tests.inference.runner.parsing.case import TOOLS
from tests.inference.runner.parsing.cases.written import HANDS

TEMPLATES = {hand.family: hand.template for hand in HANDS}


def fed(family, *chunks, prompt=""):
    """The pieces that each chunk brought."""
    one = parser(TEMPLATES[family], prompt, TOOLS, forced=False)
    return [one.feed(chunk) for chunk in chunks]


@pytest.mark.parametrize(
    ("family", "begins", "more"),
    [
        ("hermes", '<tool_call>\n{"name": "save", "arguments": {"text": "one', '{"text": "one'),
        ("llama3", '{"name": "save", "parameters": {"text": "one', '{"text": "one'),
        ("mistral", '[TOOL_CALLS]save[ARGS]{"text": "one', '{"text": "one'),
        ("kimi_k2", '<|tool_call_begin|>save<|tool_call_argument_begin|>{"text": "one', '{"text": "one'),
        ("harmony", '<|channel|>commentary to=functions.save<|message|>{"text": "one', '{"text": "one'),
        ("gemma4", '<|tool_call>call:save{text:<|"|>one', '{"text":"one'),
        ("pythonic", "<|tool_call_start|>[save(text='one", '{"text": "one'),
        ("qwen3_coder", "<tool_call>\n<function=save>\n<parameter=text>\none", '{"text": "one'),
        ("glm47", "<tool_call>save<arg_key>text</arg_key><arg_value>one", '{"text": "one'),
        ("kimi_k3", '<|open|>tools<|sep|><|open|>call tool="save"<|sep|><|open|>argument key="text"'
         ' type="string"<|sep|>one', '{"text": "one'),
    ],
)  # fmt: skip
def test_arguments_come_as_they_are_written(family, begins, more):
    call = parser(TEMPLATES[family], "", TOOLS, forced=False)
    first = call.feed(begins)
    assert isinstance(first[0], CallBegins)
    assert first[0].name == "save"
    assert first[1:] == [Arguments(0, more)]
    assert call.feed(" two") == [Arguments(0, " two")]


def test_content_comes_as_it_is_written():
    assert fed("hermes", "One", " two", " <b", ">") == [
        [Content("One")],
        [Content(" two")],
        [Content(" <b")],
        [Content(">")],
    ]


def test_what_may_be_a_marker_waits():
    assert fed("hermes", "a <tool", "_c", "at>") == [[Content("a")], [], [Content(" <tool_cat>")]]


def test_a_name_waits_for_its_arguments():
    chunks = '<tool_call>{"name": "now"', ', "arguments": ', "{"
    assert fed("hermes", *chunks) == [[], [], [CallBegins(0, "now"), Arguments(0, "{")]]


@pytest.mark.parametrize(
    "family", ["hermes", "gemma4", "kimi_k3", "mistral", "harmony", "muse_spark", "longcat"]
)
def test_it_says_whether_the_model_thinks(family):
    hand = next(hand for hand in HANDS if hand.family == family)
    opened, _, closed = hand.think("So.").partition("So.")
    one = parser(hand.template, "", TOOLS, forced=False)
    assert not one.thinking
    assert one.feed(opened) == []
    assert one.thinking
    assert one.feed("So.") == [Thought("So.")]
    assert one.thinking
    one.feed(closed)
    assert not one.thinking


def test_it_thinks_from_the_first_when_the_prompt_began_it():
    assert parser(TEMPLATES["hermes"], "<|im_start|>assistant\n<think>\n", [], forced=False).thinking


def test_a_call_ends_thinking():
    one = parser(TEMPLATES["hermes"], "<think>", TOOLS, forced=False)
    one.feed('So.<tool_call>{"name": "now", "arguments": {')
    assert not one.thinking
