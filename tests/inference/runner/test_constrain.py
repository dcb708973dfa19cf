"""Masks over tokens: what is said under a schema is valid by it, and what no mask can hold is refused."""

import json
import random
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from inference.errors import RunnerRefused
from inference.request import AnyJson, JsonSchema, Tool
from inference.runner.engine import Constraint
from tests.inference.runner.vocabulary import Vocabulary, allowed, asked, resumed, spoken, takes, vocabulary

FIELD = "response_format.json_schema.schema"
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 9}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
NAMES = st.sampled_from(["a", "b", "name", "é", 'q"q'])
PATTERNS = ["^a", "b$", "^[a-c]+$", r"\d{2}", r"^\w+-\d+$", "^(foo|bar)$", "[^x]", "^.{2,5}$"]
FORMATS = ["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.sampled_from([0, -5, 12, 2**53, 0.5, -1.25, 1e-7, 1e22, "", "a", "é\n", "\x07😀"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=3,
)  # fmt: skip


def some(**keywords: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Schemas with any of these keywords, in any order."""
    found = st.fixed_dictionaries({}, optional=keywords)
    return found.flatmap(lambda made: st.permutations(list(made.items())).map(dict))


NUMBERS = st.sampled_from([0, 1, -3, 7, 100, 0.5, -2.5, 3.14, -1e6, 2**31])
STRING = some(
    minLength=st.integers(0, 3), maxLength=st.integers(0, 8), pattern=st.sampled_from(PATTERNS),
    format=st.sampled_from(FORMATS),
)  # fmt: skip
NUMBER = some(
    minimum=NUMBERS, maximum=NUMBERS, exclusiveMinimum=NUMBERS, exclusiveMaximum=NUMBERS,
    multipleOf=st.sampled_from([1, 2, 0.5, 0.1, 3]),
)  # fmt: skip
TYPES = ["string", "integer", "number", "boolean", "null", "array", "object"]


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    some_inner = st.lists(inner, min_size=1, max_size=3)
    array = some(items=inner, prefixItems=some_inner, minItems=st.integers(0, 2), maxItems=st.integers(0, 3))
    structure = some(
        properties=st.dictionaries(NAMES, inner, max_size=3),
        required=st.lists(NAMES, max_size=2, unique=True),
        additionalProperties=st.just(False) | inner, minProperties=st.integers(0, 2),
        maxProperties=st.integers(0, 3),
        patternProperties=st.dictionaries(st.sampled_from(["^x", "^[a-b]$", "z$"]), inner, max_size=1),
    )  # fmt: skip
    choice = some(anyOf=some_inner, oneOf=some_inner, allOf=some_inner, type=st.sampled_from(TYPES))
    mixed = st.tuples(structure, choice, array).map(lambda parts: parts[0] | parts[1] | parts[2])
    typed = array.map(lambda made: {"type": "array", **made})
    return structure.map(lambda made: {"type": "object", **made}) | typed | choice | mixed


SCHEMAS = st.recursive(
    st.booleans()
    | STRING.map(lambda made: {"type": "string", **made})
    | NUMBER.map(lambda made: {"type": "integer", **made})
    | NUMBER.map(lambda made: {"type": "number", **made})
    | st.lists(VALUES, min_size=1, max_size=3).map(lambda values: {"enum": values})
    | VALUES.map(lambda value: {"const": value})
    | st.lists(st.sampled_from(TYPES), min_size=1, max_size=2, unique=True).map(lambda names: {"type": names})
    | st.sampled_from([{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}]),
    containers,
    max_leaves=6,
)


@pytest.fixture
def words() -> Vocabulary:
    return vocabulary()


def held(words: Vocabulary, schema: dict[str, Any]) -> Constraint:
    found = asked(words, format=JsonSchema(schema))
    assert found
    return found


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(schema=SCHEMAS, a=SCHEMAS, b=SCHEMAS, seed=st.integers(0, 2**32))
def test_whatever_is_said_under_a_schema_is_valid_by_it(schema: Any, a: Any, b: Any, seed: int):
    words = vocabulary()
    assume(isinstance(schema, dict))
    schema = {**schema, "$defs": {"a": a, "b": b}}
    try:
        masks = held(words, schema)
    except RunnerRefused as refusal:
        assert (refusal.status, refusal.field) == (400, FIELD)
        return
    text, ended = spoken(masks, words, random.Random(seed))
    if ended:
        jsonschema_rs.Draft202012Validator(schema, validate_formats=True).validate(read(text))


def read(text: str) -> Any:
    """What JSON says, with numbers as large as a float can be."""
    return json.loads(text, parse_float=lambda digits: max(-1.7e308, min(1.7e308, float(digits))))


@pytest.mark.parametrize("seed", range(8))
def test_any_json_is_an_object(words: Vocabulary, seed: int):
    masks = asked(words, format=AnyJson())
    assert masks
    text, ended = spoken(masks, words, random.Random(seed), most=2000)
    assert not ended or isinstance(json.loads(text), dict)
    assert text.startswith("{")


@pytest.mark.parametrize(
    ("said", "right"),
    [
        ('{"name":"x","age":1}', True),
        ('{"name": "x", "age": 1}', True),
        ('{ "name" : "x" , "age" : 1 }', True),
        ('{"name": "x"}', False),
        ('{"name": "x", "age": -1}', False),
        ('{"name": "x", "age": 1, "more": 2}', False),
        ('{"name":  "x", "age": 1}', False),
        ('{\n  "name": "x", "age": 1}', False),
        ('{"name": "x", "age": 1} and', False),
        ("Sure: {}", False),
    ],
)
def test_a_schema_takes_what_is_valid_and_no_endless_blanks(words: Vocabulary, said: str, right: bool):
    assert takes(held(words, PERSON), words, said) is right


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"not": {"type": "string"}}, "not at #"),
        ({"properties": {"a": {"type": "array", "uniqueItems": True}}}, "uniqueItems at #/properties/a"),
        ({"if": {"type": "string"}, "then": {"maxLength": 3}}, "if at #"),
        ({"type": "array", "contains": {"type": "string"}}, "contains at #"),
        ({"type": "object", "dependentRequired": {"a": ["b"]}}, "dependentRequired at #"),
        ({"type": "object", "propertyNames": {"pattern": "^a"}}, "propertyNames at #"),
        ({"type": "object", "unevaluatedProperties": False}, "unevaluatedProperties at #"),
        ({"type": "string", "nullable": True}, "nullable at #"),
        ({"$ref": "https://example.com/other.json"}, "https://example.com/other.json"),
        ({"$ref": "#/$defs/absent"}, "names nothing"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"not": {}}}}, "not at #/$defs/a"),
        ({"$ref": "#"}, "nothing finite"),
        ({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}, "nothing finite"),
        ({"type": "array", "items": {"$ref": "#"}, "minItems": 1}, "nothing finite"),
        ({"type": "string", "minLength": 5, "maxLength": 3}, "Unsatisfiable"),
        ({"type": "object", "properties": {"a": False}, "required": ["a"]}, "nothing finite"),
        ({"oneOf": [{"type": "number"}, {"type": "integer"}]}, "oneOf"),
        ({"type": "string", "format": "iri"}, "iri"),
        ({"type": "string", "pattern": "(?=a)b"}, "pattern"),
        ({"type": "string", "pattern": r"(a)\1"}, "backreferences"),
        ({"type": "string", "pattern": "(?i)a"}, "pattern"),
        ({"type": "string", "pattern": "[a--b]"}, "-- in a pattern"),
        ({"type": "object", "patternProperties": {"(?i)a": {}}}, "pattern"),
        ({"type": "object", "minProperties": 2}, "minProperties"),
        ({"const": 2**53 + 1}, "const at # has a number beyond 2^53"),
        ({"maximum": 100.00000000000001}, "maximum at #"),
        ({"minimum": 2**60}, "minimum at #"),
        ({"type": "strin"}, "strin"),
        ({"type": 5}, "type at #"),
        ({"required": "name"}, "required at #"),
        ({"required": [1]}, "required at #"),
        ({"items": 3}, "items at #"),
        ({"properties": {"a": 3}}, "#/properties/a is no schema"),
        ({"$defs": {"a": 3}, "$ref": "#/$defs/a"}, "#/$defs/a is no schema"),
        ({"properties": {"a": {"$id": "https://example.com/a", "type": "null"}}}, "$id at #/properties/a"),
    ],
)
def test_a_schema_that_no_mask_can_hold_is_refused_by_what_is_in_it(
    words: Vocabulary, schema: dict[str, Any], why: str
):
    with pytest.raises(RunnerRefused) as refused:
        held(words, schema)
    assert (refused.value.status, refused.value.field) == (400, FIELD)
    assert why in refused.value.message


INTEGER = {"type": "integer"}
ENDLESS = {
    "too many schemas": {"properties": {f"p{at}": INTEGER for at in range(5000)}},
    "too many characters": {"enum": ["so" * 200_000]},
    "one long remainder": {"type": "integer", "multipleOf": 9_999_991},
    "two remainders at once": {"allOf": [{"type": "integer", "multipleOf": step} for step in (9973, 9967)]},
    "a remainder of many digits": {"type": "number", "multipleOf": 12345.678},
    "patterns at once": {"allOf": [{"type": "string", "pattern": f"a.{{{at}}}b"} for at in range(5, 200)]},
    "patterns of properties": {"patternProperties": {f"^p{at}_": INTEGER for at in range(1000)}},
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("schema", ENDLESS.values(), ids=ENDLESS)
def test_a_schema_that_would_take_seconds_to_compile_is_refused(words: Vocabulary, schema: dict[str, Any]):
    with pytest.raises(RunnerRefused, match=r"(has|match|leave) more than") as refused:
        held(words, schema)
    assert (refused.value.status, refused.value.field) == (400, FIELD)


def test_the_schemas_of_all_tools_are_bounded_together(words: Vocabulary):
    many = {"type": "object", "properties": {f"p{at}": INTEGER for at in range(900)}}
    tools = [Tool(f"tool_{at}", "", many) for at in range(3)]
    assert asked(words, tools=tools[:2], tool_choice="required")
    with pytest.raises(RunnerRefused, match="more than 2000 schemas") as refused:
        asked(words, tools=tools, tool_choice="required")
    assert refused.value.field == "tools.2.function.parameters"


def test_a_schema_whose_parts_refer_backwards_is_held(words: Vocabulary):
    """Nothing is valid by the last of them before all are known to be holdable."""
    chain: dict[str, Any] = {"p0": INTEGER}
    for at in range(1, 200):
        before = {"$ref": f"#/properties/p{at - 1}"}
        chain[f"p{at}"] = {"type": "object", "properties": {"x": before}, "required": ["x"]}
    assert not held(words, {"type": "object", "properties": chain, "required": ["p199"]}).failed
    chain["p0"] = {"$ref": "#/properties/p199"}
    with pytest.raises(RunnerRefused, match="nothing finite"):
        held(words, {"type": "object", "properties": chain, "required": ["p199"]})


@pytest.mark.parametrize("depth", [90, 400])
def test_a_schema_that_is_nested_too_deep_is_refused(words: Vocabulary, depth: int):
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}}
    with pytest.raises(RunnerRefused) as refused:
        held(words, schema)
    assert refused.value.field == FIELD


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": {"type": "null"}, "uniqueItems": False},
        {"type": "string", "maxLength": 3, "format": "password"},
        {"type": "object", "propertyNames": {"type": "string"}, "additionalProperties": {"type": "null"}},
        {"type": "object", "x-guidance": {"lenient": True, "whitespace_pattern": "x*"}, "discriminator": {}},
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "T",
            "type": "null",
            "default": 1,
        },
        {"$ref": "#/$defs/tree", "$defs": {"tree": {"type": "array", "items": {"$ref": "#/$defs/tree"}}}},
    ],
)
def test_what_forbids_nothing_may_stand_in_a_schema(words: Vocabulary, schema: dict[str, Any]):
    text, ended = spoken(held(words, schema), words, random.Random(1))
    assert ended
    assert jsonschema_rs.Draft202012Validator(schema).is_valid(json.loads(text))


def test_a_schema_cannot_loosen_itself(words: Vocabulary):
    loose = {
        "type": "object",
        "x-guidance": {"lenient": True},
        "properties": {"a": {"type": "string", "format": "iri"}},
    }
    with pytest.raises(RunnerRefused, match="iri"):
        held(words, loose)


def test_keywords_that_belong_together_are_read_together(words: Vocabulary):
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "array", "items": [{"type": "integer"}], "anyOf": [{"maxItems": 4}], "additionalItems": False,
    }  # fmt: skip
    assert takes(held(words, schema), words, "[1]")
    assert not takes(held(words, schema), words, "[1, 2]")


@pytest.mark.parametrize(
    ("schema", "right", "wrong"),
    [
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 0.5}, ["0.25", "0.5"], ["0", "0.0", "0.6"]),
        ({"type": "number", "exclusiveMaximum": 0, "minimum": -0.5}, ["-0.25", "-0.5"], ["0", "-0"]),
        ({"type": "number", "exclusiveMinimum": 0}, ["0.0000000001", "3"], ["0"]),
        (
            {"type": "integer", "minimum": 2, "exclusiveMinimum": True, "exclusiveMaximum": 4},
            ["3"],
            ["2", "4"],
        ),
        ({"type": "string", "pattern": "^[a&&b]$"}, ['"a"', '"&"'], ['"c"']),
        ({"type": "string", "pattern": "^[[]$"}, ['"["'], ['"a"']),
        ({"type": "string", "pattern": r"^a\sb$"}, ['"a b"', '"a\u3000b"'], ['"a\x85b"', '"ab"']),
        ({"type": "string", "pattern": r"^[\S]$"}, ['"a"', '"\x85"'], ['" "']),
        ({"type": "string", "pattern": "^a.b$"}, ['"axb"'], ['"a\u2028b"', '"ab"']),
        ({"type": "string", "pattern": r"^\d$"}, ['"1"'], ['"\u0661"']),
        (
            {"type": "string", "format": "date"},
            ['"2024-02-29"', '"2000-02-29"'],
            ['"2023-02-29"', '"1900-02-29"'],
        ),
        ({"type": "string", "format": "time"}, ['"12:30:59Z"'], ['"12:30:60Z"']),
    ],
)
def test_a_schema_means_what_json_schema_says(
    words: Vocabulary, schema: dict[str, Any], right: list[str], wrong: list[str]
):
    assert [said for said in right + wrong if takes(held(words, schema), words, said)] == right


def test_an_answer_that_was_begun_is_held_in_what_follows(words: Vocabulary):
    masks = resumed(words, '{"name": "the', format=JsonSchema(PERSON))
    assert masks
    assert takes(masks, words, ' x", "age": 1}')
    with pytest.raises(RunnerRefused) as refused:
        resumed(words, "Sure: ", format=JsonSchema(PERSON))
    assert refused.value.field == "messages"


def test_choices_of_one_request_do_not_share_where_they_are(words: Vocabulary):
    first, second = held(words, PERSON), held(words, PERSON)
    first.accept(words.encode("{")[0])
    assert allowed(second, words) == allowed(held(words, PERSON), words)
    assert allowed(first, words) != allowed(second, words)


def test_any_of_the_end_tokens_ends_an_answer_that_is_whole(words: Vocabulary):
    masks = held(words, {"const": 5})
    assert not words.ends & set(allowed(masks, words))
    masks.accept(words.encode("5")[0])
    assert set(allowed(masks, words)) == words.ends


def test_an_engine_that_ignores_the_mask_can_still_end(words: Vocabulary):
    masks = held(words, PERSON)
    masks.accept(words.encode("no")[0])
    assert set(allowed(masks, words)) == words.ends


def test_an_answer_that_is_held_to_nothing_has_no_constraint(words: Vocabulary):
    assert asked(words) is None


def test_a_schema_that_becomes_too_much_fails_the_answer(words: Vocabulary):
    masks = held(words, {"type": "string", "pattern": "^(.{1,200}a){200}$"})
    assert not masks.failed
    text, ended = spoken(masks, words, random.Random(1))
    assert ended
    assert masks.failed
    with pytest.raises(ValueError, match="Unterminated"):
        json.loads(text)
