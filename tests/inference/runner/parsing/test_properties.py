"""Whatever a model writes: its pieces do not depend on the cuts, and all arguments are JSON."""

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from inference.runner.parsing.near_json import repaired
from inference.runner.parsing.pieces import Content
from inference.runner.parsing.schema import Schema
from tests.inference.runner.parsing.case import TOOLS, Case, gathered, said
from tests.inference.runner.parsing.cases.written import HANDS, MEANT

PARTS = re.compile(r"<[^<>]*>|\w+|\s+|.", re.DOTALL)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
# Marks of these are left out wherever they stand.
ENVELOPES = ("kimi_k3", "harmony", "muse_spark")


@st.composite
def garbled(draw: st.DrawFn) -> Case:
    """An answer of some family, with parts of it lost, doubled and moved."""
    hand = draw(st.sampled_from(HANDS))
    think = hand.think("So.") if hand.think else ""
    text = think + hand.content("Yes.") + hand.write(draw(st.sampled_from(MEANT))[1])
    parts = PARTS.findall(text)
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(parts)))
        end = draw(st.integers(start, min(len(parts), start + 8)))
        to = draw(st.integers(0, len(parts)))
        piece = parts[start:end]
        match draw(st.sampled_from(["lose", "double", "move"])):
            case "lose":
                del parts[start:end]
            case "double":
                parts[to:to] = piece
            case "move":
                del parts[start:end]
                parts[to:to] = piece
    return Case(hand.family, hand.template, "".join(parts), [], forced=draw(st.booleans()))


@given(garbled())
def test_garbage_reads_the_same_in_any_chunks(case):
    whole = said(case, [case.text])
    found = gathered(whole)
    assert said(case, case.text) == whole
    if case.forced:
        assert not any(isinstance(piece, Content) for piece in found)
    elif all(isinstance(piece, Content) for piece in whole) and not re.search(
        "think|channel", case.text.lower()
    ):
        assert case.name in ENVELOPES or "".join(piece.text for piece in whole) == case.text


@given(st.text())
def test_text_without_markers_is_content(text):
    for hand in HANDS:
        one = Case(hand.family, hand.template, text, [])
        if not any(char in text for char in "<[{"):
            assert said(one, [text]) == ([Content(text)] if text else [])


@given(VALUES, st.sampled_from([None, 0, 2]), st.booleans())
def test_json_is_repaired_to_itself(value, indent, ascii):
    text = json.dumps(value, indent=indent, ensure_ascii=ascii)
    assert repaired(text) == text


@given(st.dictionaries(st.text(max_size=5), VALUES, max_size=4))
def test_json_that_a_schema_holds_for_is_itself(value):
    kinds = {type(None): "null", bool: "boolean", int: "integer", float: "number", str: "string"}
    properties = {
        key: {"type": kinds.get(type(one), "array" if isinstance(one, list) else "object")}
        for key, one in value.items()
    }
    text = json.dumps(value)
    assert repaired(text, Schema({"type": "object", "properties": properties})) == text


@given(st.text(alphabet="{}[]\"',:a1 \\u\nT#/=.-x"))
def test_whatever_is_repaired_is_json(text):
    json.loads(repaired(text))
    json.loads(repaired(text, Schema(TOOLS[2].parameters)))


def test_no_depth_is_too_deep():
    deep = "[" * 5000
    for text in ('{"name": ' + deep, '{"name": "save", "arguments": {"any": ' + deep,
                 '{"name": "save", "arguments": {"meta": "' + deep + '"'):  # fmt: skip
        case = Case("deep", HANDS[0].template, "<tool_call>" + text, [])
        pieces = said(case, [case.text])
        assert "".join(getattr(piece, "text", "") for piece in pieces).count("[") == 5000


def test_a_schema_that_names_itself_ends():
    schema = Schema(
        {"$ref": "#", "anyOf": [{"$ref": "#"}] * 9, "properties": {"a": {"$ref": "#/properties/a"}}}
    )
    assert repaired('{"a": {"a": 1}}', schema) == '{"a": {"a": 1}}'
