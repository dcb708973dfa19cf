"""Which JSON Schemas an answer can be held to, exactly; the others are refused, with what stands in the way.

llguidance compiles a schema to a grammar and refuses what it cannot express. What it would take in
another sense than JSON Schema, or not tell in words that help, is found here first.
Sources: https://json-schema.org/draft/2020-12, https://github.com/guidance-ai/llguidance/blob/main/docs/json_schema.md
"""

import json
import re
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

from inference.errors import RunnerRefused

# How JSON is written: a blank or an indented line between two parts, and no more, or a model that
# likes blanks would write them to its last token. Nothing of llguidance's leniency.
WRITING = {
    "whitespace_pattern": r" |\r?\n[ \t]{0,32}",
    "item_separator": ",",
    "key_separator": ":",
    "lenient": False,
    "coerce_one_of": False,
}
# Keywords that decide whether a text is valid and that no grammar here can hold.
BEYOND = frozenset(
    (
        *("not", "if", "then", "else", "dependencies", "dependentRequired", "dependentSchemas"),
        *("uniqueItems", "contains", "minContains", "maxContains", "unevaluatedItems"),
        *("propertyNames", "unevaluatedProperties", "$dynamicRef", "$recursiveRef", "nullable"),
    )
)
# Of those, the values that forbid nothing; code generators write them.
IDLE: dict[str, tuple[Any, ...]] = {
    "uniqueItems": (False,),
    "nullable": (False,),
    "propertyNames": (True, {}, {"type": "string"}),
    "unevaluatedItems": (True, {}),
    "unevaluatedProperties": (True, {}),
    "dependencies": ({},),
    "dependentRequired": ({},),
    "dependentSchemas": ({},),
}
# Keywords with schemas inside them.
LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
MAPS = ("properties", "patternProperties")
SINGLE = ("items", "additionalItems", "additionalProperties")
# llguidance reads keywords in order and closes its view of `items` or `properties` at each of these.
IN_PLACE = ("const", "enum", "allOf", "anyOf", "oneOf", "$ref")
# Numbers are floats on their way: beyond this not every integer is one.
EXACT = 2**53
NUMBERS = ("const", "enum", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
# What Rust's regular expressions have and JavaScript's have not, or in another sense.
FOREIGN = re.compile(r"\(\?(?!:|<[A-Za-z_])|\\[AzZ]")
CLASS = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]", re.DOTALL)
SET_OPERATION = re.compile(r"(?!^)\[|&&|--|~~")

# What a keyword's value has to be, where it is read here before llguidance reads it.
SHAPES: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(LISTS, list),
    **dict.fromkeys(MAPS, dict),
    **dict.fromkeys(SINGLE, (dict, bool, list)),
    "required": list,
    "type": (str, list),
    "minItems": int,
    "minProperties": int,
    "pattern": str,
    "$ref": str,
}
SCALARS = frozenset(("string", "number", "integer", "boolean", "null"))

Node = dict[str, Any]


class Unenforceable(Exception):
    """What of a schema cannot be held, and what to do."""


def enforceable(schema: Node, field: str) -> Node:
    """`schema` as llguidance is to read it. Raises RunnerRefused, naming `field`."""
    try:
        document = json.loads(json.dumps(schema, allow_nan=False))
        document.pop("x-guidance", None)  # would set llguidance's own options
        if not holdable(document, list(visit(document))):
            raise Unenforceable("what it requires contains itself without end")
    except Unenforceable as error:
        raise refusal(str(error), field) from None
    except RecursionError:
        raise refusal("it is nested too deep", field) from None
    return {**document, "x-guidance": WRITING}


def refusal(reason: str, field: str) -> RunnerRefused:
    return RunnerRefused(
        f"An answer cannot be held to this schema: {reason}. Leave that out, or say it in another way.",
        field=field,
        code="unsupported_schema",
    )


def explained(error: str, field: str) -> RunnerRefused:
    """The refusal of what llguidance cannot compile, from its own message."""
    lines = error.strip().splitlines()
    if "oneOf" in error:
        return refusal("alternatives of its oneOf may hold at once; anyOf allows that", field)
    if "regex parse error" in error:
        return refusal(f"a pattern is not understood ({lines[-1].removeprefix('error: ')})", field)
    return refusal(lines[0][:300].rstrip("."), field)


def visit(document: Node) -> Iterator[Node]:
    """Every schema that the document uses, once, checked and arranged for llguidance."""
    waiting = deque([("#", document)])
    seen: set[int] = set()
    while waiting:
        place, node = waiting.popleft()
        if isinstance(node, bool) or id(node) in seen:
            continue
        if not isinstance(node, dict):
            raise Unenforceable(f"{place} is no schema")
        seen.add(id(node))
        check(place, node)
        # First what llguidance has to read together.
        for key in [key for key in node if key in IN_PLACE]:
            node[key] = node.pop(key)
        yield node
        waiting.extend(parts(place, node, document))


def check(place: str, node: Node) -> None:
    for key in [key for key, idle in IDLE.items() if key in node and node[key] in idle]:
        del node[key]
    for key, value in node.items():
        if key in BEYOND or (key == "$id" and place != "#"):
            raise Unenforceable(f"{key} at {place} is not supported")
        if key in SHAPES and not isinstance(value, SHAPES[key]):
            raise Unenforceable(f"the value of {key} at {place} is of the wrong type")
        if key in ("type", "required") and not all(isinstance(name, str) for name in value):
            raise Unenforceable(f"{key} at {place} holds what is no text")
        if key in NUMBERS and not exact(value):
            raise Unenforceable(f"{key} at {place} has an integer beyond 2^53")
    for pattern in [node.get("pattern", ""), *node.get("patternProperties", ())]:
        if FOREIGN.search(pattern) or any(SET_OPERATION.search(found) for found in CLASS.findall(pattern)):
            raise Unenforceable(f"the pattern {pattern!r} at {place} is not supported")
    # Names beyond those in `properties` may come twice, and would count twice.
    if node.get("minProperties", 0) > len(node.get("required", ())) + 1:
        raise Unenforceable(f"minProperties at {place} is more than the required properties and one")


def exact(value: Any) -> bool:
    """Whether every number in `value` is what it says when it is made a float."""
    if isinstance(value, dict):
        return all(exact(part) for part in value.values())
    if isinstance(value, list):
        return all(exact(part) for part in value)
    return not isinstance(value, int) or abs(value) <= EXACT


def parts(place: str, node: Node, document: Node) -> Iterator[tuple[str, Any]]:
    """The schemas that `node` is made of, and where they stand."""
    for key in SINGLE + LISTS + MAPS:
        value = node.get(key)
        if key in MAPS:
            yield from ((f"{place}/{key}/{name}", part) for name, part in (value or {}).items())
        elif isinstance(value, list):
            yield from ((f"{place}/{key}/{position}", part) for position, part in enumerate(value))
        elif value is not None:
            yield f"{place}/{key}", value
    if "$ref" in node:
        yield node["$ref"], referred(node["$ref"], document)


def referred(reference: str, document: Node) -> Any:
    """What a JSON pointer such as #/$defs/Address names."""
    if reference != "#" and not reference.startswith("#/"):
        raise Unenforceable(f"$ref {reference} is not to a place inside of it, such as #/$defs/Address")
    found: Any = document
    for step in unquote(reference).split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        try:
            found = found[int(name) if isinstance(found, list) else name]
        except (LookupError, ValueError, TypeError):
            raise Unenforceable(f"$ref {reference} names nothing") from None
    return found


def holdable(document: Node, nodes: list[Node]) -> bool:
    """Whether some finite value is valid by the document, as far as its recursion goes: those schemas
    are marked whose parts are marked already, until no more are."""
    marked: set[int] = set()

    def ends(part: Any) -> bool:
        return part if isinstance(part, bool) else id(part) in marked

    before = -1
    while before != len(marked):
        before = len(marked)
        for node in reversed(nodes):
            if id(node) not in marked and finite(node, document, ends):
                marked.add(id(node))
    return ends(document)


def finite(node: Node, document: Node, ends: Callable[[Any], bool]) -> bool:
    if "const" in node or "enum" in node:
        return True
    if "$ref" in node and not ends(referred(node["$ref"], document)):
        return False
    if not all(map(ends, node.get("allOf", ()))):
        return False
    if not all(any(map(ends, node[key])) for key in ("anyOf", "oneOf") if key in node):
        return False
    types = {node["type"]} if isinstance(node.get("type"), str) else set(node.get("type", SCALARS))
    if types & SCALARS:
        return True
    properties = node.get("properties", {})
    if "object" in types and all(ends(properties.get(name, True)) for name in node.get("required", ())):
        return True
    return "array" in types and all(map(ends, needed(node)))


def needed(node: Node) -> list[Any]:
    """The schemas of the items that an array has at least."""
    least, items = node.get("minItems", 0), node.get("items", True)
    first = items if isinstance(items, list) else node.get("prefixItems", [])
    rest = node.get("additionalItems", True) if isinstance(items, list) else items
    return [*first[:least], *([rest] if least > len(first) else [])]
