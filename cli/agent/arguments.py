"""What a model wrote as a call's arguments, read as its schema means it.

What is right stays as it is, byte for byte in meaning: JSON is repaired only where it does not parse, and a
value is changed only where its type is not one that the schema allows.
"""

import subprocess
import sys
from collections.abc import Mapping
from json import JSONDecoder, dumps, loads
from typing import Any, NoReturn

Schema = Mapping[str, Any]

TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str, "integer": int, "number": (int, float), "boolean": bool,
    "array": list, "object": dict, "null": type(None),
}  # fmt: skip


# Up to so many characters a repair takes no time; on some longer texts it takes minutes.
SHORT = 500
REPAIR_SECONDS = 5.0
REPAIR = (
    "import json, json_repair, sys;"
    "json.dump(json_repair.loads(sys.stdin.buffer.read().decode(), skip_json_loads=True), sys.stdout)"
)


def parsed(text: str, *, repair: bool = True) -> dict[str, Any] | None:
    """The object that `text` holds; None when it holds none. An empty text is an empty object."""
    found = value(text.strip() or "{}", repair=repair)
    # Some models write the object once more as a string.
    found = value(found, repair=repair) if isinstance(found, str) else found
    return found if isinstance(found, dict) else None


def value(text: str, *, repair: bool = True) -> Any:
    """JSON, or what is nearly JSON: raw line breaks in strings, single quotes, missing commas, True.

    A repair may take REPAIR_SECONDS: not for the event loop.
    """
    try:
        return sendable(loads(text, parse_constant=no_constant))
    except (ValueError, RecursionError):
        return repaired(text) if repair else None


def repaired(text: str) -> Any:
    try:
        return sendable(loads(text, strict=False, parse_constant=no_constant))
    except (ValueError, RecursionError):
        pass  # more than raw line breaks is wrong
    if several(text):
        return None
    try:
        found = in_place(text) if len(text) <= SHORT else apart(text)
        dumps(found, allow_nan=False)
        return sendable(found)
    except (ValueError, RecursionError, subprocess.SubprocessError):
        return None


def several(text: str) -> bool:
    """Whether an object stands before another one: a repair would choose, and which is meant is not known."""
    try:
        _, end = JSONDecoder(strict=False).raw_decode(text)
    except (ValueError, RecursionError):
        return False
    return text[end:].lstrip().startswith("{")


def in_place(text: str) -> Any:
    import json_repair  # 15 ms that only a broken call costs

    return json_repair.loads(text, skip_json_loads=True)


def apart(text: str) -> Any:
    """In a process of its own, which can be ended. Raises SubprocessError, or ValueError."""
    program = [sys.executable, "-I", "-c", REPAIR]
    given = text.encode(errors="replace")
    return loads(
        subprocess.run(program, input=given, capture_output=True, timeout=REPAIR_SECONDS, check=True).stdout
    )


def no_constant(name: str) -> NoReturn:
    """NaN and the infinities are no JSON, and no server takes them back as history."""
    raise ValueError(name)


def sendable(found: Any) -> Any:
    """Without half a surrogate pair, which is JSON but cannot be sent or stored as UTF-8."""
    text = dumps(found, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return loads(text.encode(errors="replace"))
    return found


def coerced(given: Any, schema: Schema, root: Schema | None = None) -> Any:
    """`given` with what has the wrong type turned into what the schema asks for, where that is plain."""
    root = schema if root is None else root
    schema = resolved(schema, root)
    if branches := schema.get("anyOf") or schema.get("oneOf"):
        return one_of(given, [resolved(each, root) for each in branches], root)
    if not fits(given, schema):
        given = converted(given, schema, root)
    if isinstance(given, dict) and isinstance(schema.get("properties"), Mapping):
        return members(given, schema, root)
    if isinstance(given, list) and isinstance(schema.get("items"), Mapping):
        return [coerced(each, schema["items"], root) for each in given]
    return given


def resolved(schema: Schema, root: Schema) -> Schema:
    reference = schema.get("$ref")
    if not isinstance(reference, str):
        return schema
    found = root.get("$defs", {}).get(reference.removeprefix("#/$defs/"))
    return found if isinstance(found, Mapping) else {}


def one_of(given: Any, branches: list[Schema], root: Schema) -> Any:
    """As the first branch reads it whose type it has, or can be given."""
    for branch in branches:
        if fits(given, branch):
            return coerced(given, branch, root)
    for branch in branches:
        if fits(found := coerced(given, branch, root), branch):
            return found
    return given


def members(given: dict[str, Any], schema: Schema, root: Schema) -> dict[str, Any]:
    """Each by its own schema; without the nulls that say that an optional one is missing."""
    known, required = schema["properties"], schema.get("required", ())
    return {
        key: coerced(each, known[key], root) if key in known else each
        for key, each in given.items()
        if not (each is None and key in known and key not in required and not admits_null(known[key], root))
    }


def admits_null(schema: Schema, root: Schema) -> bool:
    schema = resolved(schema, root)
    branches = schema.get("anyOf") or schema.get("oneOf") or [schema]
    return any(fits(None, resolved(branch, root)) for branch in branches)


def types(schema: Schema) -> list[str]:
    named = schema.get("type", [])
    return [named] if isinstance(named, str) else list(named)


def fits(given: Any, schema: Schema) -> bool:
    """Whether `given` has a type that the schema allows; a schema without types allows all."""
    wanted = types(schema)
    return not wanted or any(is_a(given, name) for name in wanted)


def is_a(given: Any, name: str) -> bool:
    if isinstance(given, bool):
        return name == "boolean"
    return isinstance(given, TYPES.get(name, object))


def converted(given: Any, schema: Schema, root: Schema) -> Any:
    """`given` as one of the schema's types; as it is, when that is not plain."""
    wanted = types(schema)
    if isinstance(given, str):
        text = given.strip()
        inside = value(text.lower() if text in ("True", "False", "None", "Null") else text, repair=False)
        if not isinstance(inside, str) and (inside is not None or text.lower() == "null"):
            inside = whole(inside, wanted)
            if fits(inside, schema):
                return inside
    given = whole(given, wanted)
    if "array" in wanted and not isinstance(given, list):
        return [coerced(given, schema.get("items", {}), root)]
    if "string" in wanted and isinstance(given, int | float) and not isinstance(given, bool):
        return dumps(given)
    return given


def whole(given: Any, wanted: list[str]) -> Any:
    """3.0 as 3 where an integer is wanted."""
    if "integer" in wanted and isinstance(given, float) and given.is_integer():
        return int(given)
    return given
