"""Which JSON Schemas an answer can be held to, exactly; the others are refused, with what stands in the way.

llguidance compiles a schema to a grammar and refuses what it cannot express. What it would take in
another sense than JSON Schema, or not tell in words that help, is found here first.
Sources: https://json-schema.org/draft/2020-12, https://github.com/guidance-ai/llguidance/blob/main/docs/json_schema.md
"""

import json
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from fractions import Fraction
from math import lcm
from typing import Any
from urllib.parse import unquote

from inference.errors import RunnerRefused
from inference.runner.pattern import rust

# How JSON is written: on one line, a blank or none between two parts. A model that may write blanks and
# new lines as it likes may like to, up to its last token. And nothing of llguidance's leniency.
WRITING = {
    "whitespace_pattern": " ",
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
    "format": ("password", "binary", "path"),
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
# Of all the schemas of one answer: the characters, and the schemas in them. It takes seconds to compile
# more, in which no other prompt is tokenised.
LONGEST, MOST = 2**18, 2000
# Of all multipleOf together, in steps of the finest: an automaton has a state for each remainder.
REMAINDERS = 100_000
# The patterns that one text has to match all at once, and those that tell properties apart: whether any
# text matches two of them takes long to find.
TOGETHER, APART = 8, 32
# Of the digits that stay, the last one that matters to nobody.
LEAST = 1e-9
NUMBERS = ("const", "enum", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
# A day that there is: llguidance takes the 29th of every February, and JSON Schema's dates are RFC 3339's.
LEAP = r"(?:\d\d(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)"
DAY = rf"^(?:\d{{4}}-(?:0[13-9]|1[0-2])|\d{{4}}-02-(?:[01]|2[0-8])|{LEAP}-02-29)"
# No leap second, which a reader takes at one moment of the year at most.
CLOCK = r"\d\d:\d\d:[0-5]\d"
STRICTER = {
    "date": DAY,
    "date-time": f"{DAY}.*{CLOCK}",
    "time": f"^{CLOCK}",
    # Source: RFC 5321, 4.5.3.1, and RFC 1035, 2.3.4.
    "email": "^.{1,64}@[^@]{1,255}$",
    "hostname": "^.{1,253}$",
}
# What a keyword's value has to be, where it is read here before llguidance reads it.
SHAPES: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(LISTS, list),
    **dict.fromkeys(MAPS, dict),
    **dict.fromkeys(SINGLE, (dict, bool, list)),
    "required": list,
    "type": (str, list),
    "minItems": int,
    "minProperties": int,
    "multipleOf": (int, float),
    "pattern": str,
    **dict.fromkeys(("minimum", "maximum"), (int, float)),
    **dict.fromkeys(("exclusiveMinimum", "exclusiveMaximum"), (int, float, bool)),
    "$ref": str,
}
CONTAINERS = frozenset(("object", "array"))

Node = dict[str, Any]


class Unenforceable(Exception):
    """What of a schema cannot be held, and what to do."""


class Room:
    """How much the schemas of one answer may be, all together."""

    def __init__(self) -> None:
        self.characters = self.schemas = self.apart = 0
        self.steps: list[Fraction] = []

    def hold(self, text: str) -> None:
        self.characters += len(text)
        if self.characters > LONGEST:
            raise Unenforceable(f"all that it is part of has more than {LONGEST} characters")

    def count(self, nodes: list[Node]) -> None:
        self.schemas += len(nodes)
        if self.schemas > MOST:
            raise Unenforceable(f"all that it is part of has more than {MOST} schemas")
        self.apart += sum(len(node.get("patternProperties", ())) for node in nodes)
        if self.apart > APART:
            raise Unenforceable(f"all that it is part of has more than {APART} patternProperties")
        self.steps += [Fraction(str(node["multipleOf"])) for node in nodes if node.get("multipleOf")]
        finest = lcm(*(step.denominator for step in self.steps))
        if lcm(*(int(step * finest) for step in self.steps)) > REMAINDERS:
            raise Unenforceable(f"its multipleOf leave more than {REMAINDERS} remainders to tell apart")


def enforceable(schema: Node, field: str, room: Room) -> Node:
    """`schema` as llguidance is to read it. Raises RunnerRefused, naming `field`."""
    try:
        text = json.dumps(schema, allow_nan=False)
        room.hold(text)
        document = json.loads(text)
        document.pop("x-guidance", None)  # would set llguidance's own options
        nodes = list(visit(document))
        room.count(nodes)
        known: dict[int, int] = {}
        if any(together(node, document, known) > TOGETHER for node in nodes):
            raise Unenforceable(f"a text would have to match more than {TOGETHER} patterns at once")
        spread(nodes)
        if not holdable(document, nodes):
            raise Unenforceable("nothing finite is valid by it")
    except Unenforceable as error:
        raise refusal(str(error), field) from None
    except RecursionError:
        raise refusal("it is nested too deep", field) from None
    except ValueError:
        raise refusal("it has a number that JSON does not have", field) from None
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
        arrange(place, node)
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
            raise Unenforceable(f"{key} at {place} has a number beyond 2^53, or of more than 15 digits")
    # Names beyond those in `properties` may come twice, and would count twice.
    if node.get("minProperties", 0) > len(node.get("required", ())) + 1:
        raise Unenforceable(f"minProperties at {place} is more than the required properties and one")


def arrange(place: str, node: Node) -> None:
    """Say `node` as llguidance takes it in JSON Schema's sense."""
    try:
        if "pattern" in node:
            node["pattern"] = rust(node["pattern"])
        if "patternProperties" in node:
            node["patternProperties"] = {rust(name): part for name, part in node["patternProperties"].items()}
    except ValueError as error:
        raise Unenforceable(f"{error} in a pattern at {place} is not supported") from None
    if node.get("format") in STRICTER:
        node["allOf"] = [*node.get("allOf", ()), {"pattern": STRICTER[node["format"]]}]
    # First what it has to read together.
    for key in [key for key in node if key in IN_PLACE]:
        node[key] = node.pop(key)


def spread(nodes: list[Node]) -> None:
    """Move each exclusive integer bound a little where some other bound lies less than 1 beyond it:
    between two such bounds llguidance takes the integer itself."""
    for exclusive, bound, others, way in (
        ("exclusiveMinimum", "minimum", ("maximum", "exclusiveMaximum"), 1),
        ("exclusiveMaximum", "maximum", ("minimum", "exclusiveMinimum"), -1),
    ):
        near = [
            node[other] for node in nodes for other in others if not isinstance(node.get(other, True), bool)
        ]
        for node in nodes:
            edge = node.get(exclusive)
            edge = node.get(bound) if edge is True else edge
            if isinstance(edge, bool) or edge is None or edge != int(edge):
                continue
            if any(0 <= (other - edge) * way < 1 for other in near):
                inside = edge + way * max(LEAST, abs(edge) * LEAST)
                del node[exclusive]
                node[bound] = (max if way > 0 else min)(node.get(bound, inside), inside)


def exact(value: Any) -> bool:
    """Whether every number in `value` stays what it is on its way: as a float of 15 digits, or an integer."""
    if isinstance(value, dict):
        return all(exact(part) for part in value.values())
    if isinstance(value, list):
        return all(exact(part) for part in value)
    if not isinstance(value, int | float):
        return True
    return abs(value) <= EXACT and (value == int(value) or value == float(f"{value:.15g}"))


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


def together(node: Any, document: Node, known: dict[int, int]) -> int:
    """How many patterns a text has to match by `node`, at most; `known` is by the ids of schemas."""
    if isinstance(node, bool):
        return 0
    if id(node) not in known:
        known[id(node)] = 0  # for a circle, which adds nothing
        found = {key: [together(part, document, known) for part in node.get(key, ())] for key in LISTS[:3]}
        also = together(referred(node["$ref"], document), document, known) if "$ref" in node else 0
        either = max(found["anyOf"], default=0) + max(found["oneOf"], default=0)
        known[id(node)] = ("pattern" in node) + also + sum(found["allOf"]) + either
    return known[id(node)]


def holdable(document: Node, nodes: list[Node]) -> bool:
    """Whether some finite value is valid by the document, as far as its recursion goes: those schemas
    are marked whose parts are marked already, and then those looked at again that they are part of."""
    marked: set[int] = set()
    wholes: dict[int, list[Node]] = defaultdict(list)
    for node in nodes:
        for _, part in parts("", node, document):
            wholes[id(part)].append(node)

    def ends(part: Any) -> bool:
        return part if isinstance(part, bool) else id(part) in marked

    waiting = nodes.copy()  # the innermost at the end, which are first
    while waiting:
        node = waiting.pop()
        if id(node) not in marked and finite(node, document, ends):
            marked.add(id(node))
            waiting += wholes[id(node)]
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
    types = {node["type"]} if isinstance(node.get("type"), str) else set(node.get("type", ["null"]))
    if types - CONTAINERS:
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
