"""Arguments as a model writes them: what is right is left alone, what is nearly right is read as meant."""

import json
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from cli.agent.arguments import coerced, parsed, value
from cli.agent.catalog import Offer, Unfit

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_valid_json_is_a_fixed_point(found: Any):
    text = json.dumps(found)
    assert json.dumps(value(text)) == text
    assert json.dumps(value(json.dumps(found, ensure_ascii=False, indent=2))) == text


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_a_valid_object_is_a_fixed_point_of_reading_arguments(found: dict[str, Any]):
    assert json.dumps(parsed(json.dumps(found))) == json.dumps(found)


@given(st.text() | st.text(alphabet="{}[]\",:'\\ntruefalsn 0123456789.eE-+\n"))
def test_whatever_it_is_given_it_gives_json_or_nothing(text: str):
    found = parsed(text)
    assert found is None or json.loads(json.dumps(found, allow_nan=False).encode()) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("  \n", {}),
        ('{"a": 1,}', {"a": 1}),
        ("{'a': True, 'b': None}", {"a": True, "b": None}),
        ('{"a": "two\nlines\tand a tab"}', {"a": "two\nlines\tand a tab"}),
        ("{a: 1}", {"a": 1}),
        ('{"a": 1', {"a": 1}),
        ('```json\n{"a": 1}\n```', {"a": 1}),
        ('"{\\"a\\": 1}"', {"a": 1}),
        ('{"a": "\\ud83d"}', {"a": "?"}),
        ("{'a': '" + "x" * 5_000 + "',}", {"a": "x" * 5_000}),
        ('{"a": 1} I hope this helps.', {"a": 1}),
        # Which of two is meant is not known: half of it may be another call.
        ('{"a": 1}{"a": 2}', None),
        ('{"a": 1}\n\n{"b": 2}', None),
        ("null", None),
        ("[1, 2]", None),
        ("no json at all", None),
        ("[" * 100_000, None),
        ('{"a": ' * 50_000, None),
    ],
)
def test_what_is_nearly_json_is_read(text: str, found: Any):
    assert parsed(text) == found


@pytest.mark.parametrize("text", ['{"a": 1', "{'a': 1}", '{"a": "b'])
def test_nothing_is_repaired_where_that_is_not_wanted(text: str):
    assert parsed(text, repair=False) is None


INTEGER, NUMBER, BOOLEAN = {"type": "integer"}, {"type": "number"}, {"type": "boolean"}
STRING, NOTHING = {"type": "string"}, {"type": "null"}
STRINGS, INTEGERS = {"type": "array", "items": STRING}, {"type": "array", "items": INTEGER}
POINT = {"type": "object", "properties": {"x": INTEGER, "y": INTEGER}, "required": ["x"]}
NESTED = {"type": "object", "properties": {"points": {"type": "array", "items": {"$ref": "#/$defs/Point"}}}}


@pytest.mark.parametrize(
    ("written", "schema", "read"),
    [
        ("3", INTEGER, 3),
        (" 3 ", INTEGER, 3),
        (3.0, INTEGER, 3),
        ("3.0", INTEGER, 3),
        (3.5, INTEGER, 3.5),
        ("three", INTEGER, "three"),
        ("1e3", NUMBER, 1000.0),
        (7, NUMBER, 7),
        ("true", BOOLEAN, True),
        ("False", BOOLEAN, False),
        ("yes", BOOLEAN, "yes"),
        (1, BOOLEAN, 1),
        (3, STRING, "3"),
        (True, STRING, True),
        ("3", STRING, "3"),
        ("null", NOTHING, None),
        ("a", STRINGS, ["a"]),
        ("3", INTEGERS, [3]),
        ('["a", "b"]', STRINGS, ["a", "b"]),
        (["1", 2], INTEGERS, [1, 2]),
        ('{"x": "1"}', POINT, {"x": 1}),
        ({"x": 1, "y": None}, POINT, {"x": 1}),
        ({"x": None}, POINT, {"x": None}),
        ({"x": 1, "z": "3"}, POINT, {"x": 1, "z": "3"}),
        ("3", {"anyOf": [INTEGER, NOTHING]}, 3),
        ("null", {"anyOf": [INTEGER, NOTHING]}, None),
        ("3", {"anyOf": [INTEGER, STRING]}, "3"),
        ("3", {"type": ["integer", "null"]}, 3),
        ("3", {}, "3"),
        (
            {"points": {"x": "1"}},
            {**NESTED, "$defs": {"Point": POINT}},
            {"points": [{"x": 1}]},
        ),
        ({"points": "?"}, NESTED, {"points": ["?"]}),
    ],
)
def test_a_value_of_the_wrong_type_is_read_as_the_schema_means_it(written: Any, schema: Any, read: Any):
    found = coerced(written, schema)
    assert (found, type(found)) == (read, type(read))
    assert coerced(found, schema) == found


class Line(BaseModel):
    number: int
    text: str = ""


def edit(
    path: str,
    lines: list[Line],
    count: Annotated[int, Field(ge=1)] = 1,
    dry: bool = False,
    note: str | None = None,
    depth: int = 0,
) -> str:
    """Edit a file."""
    return path


FITTING = st.fixed_dictionaries(
    {"path": st.text(), "lines": st.lists(st.fixed_dictionaries({"number": st.integers()}), max_size=3)},
    optional={"count": st.integers(min_value=1), "dry": st.booleans(), "note": st.none() | st.text()},
)


@given(FITTING)
def test_arguments_that_fit_are_a_fixed_point(given: dict[str, Any]):
    assert Offer("edit", edit).fit(given) == given


def test_arguments_that_nearly_fit_are_made_to():
    given = {"path": 7, "lines": {"number": "3"}, "count": "2", "dry": "true", "note": None, "depth": None}
    fitting = {"path": "7", "lines": [{"number": 3}], "count": 2, "dry": True, "note": None}
    assert Offer("edit", edit).fit(given) == fitting
    assert Offer("edit", edit).values(fitting)["lines"] == [Line(number=3)]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"lines": []}, "path: it is missing."),
        ({"path": "a", "lines": [], "file": "b"}, "file: there is no such parameter."),
        ({"path": "a", "lines": [{"number": "x"}]}, "lines.0.number: Input should be a valid integer"),
        ({"path": "a", "lines": [], "count": 0}, "count: Input should be greater than or equal to 1"),
        (None, "no JSON object"),
    ],
)
def test_what_cannot_fit_is_named_with_the_schema(given: Any, said: str):
    with pytest.raises(Unfit) as caught:
        Offer("edit", edit).fit(given)
    assert said in str(caught.value)
    assert '"required": ["path", "lines"]' in str(caught.value)
