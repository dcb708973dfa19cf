"""What a tool's JSON Schema says of the type of each value, as far as reading arguments needs it."""

from functools import cached_property
from typing import Any

TYPES = {
    bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object",
    type(None): "null",
}  # fmt: skip
# How many $ref in a row, and how many anyOf inside one another, are followed.
REFERENCES = 8
DEPTH = 2


class Schema:
    """A part of a schema; what it does not say may be anything."""

    def __init__(self, node: Any = None, root: Any = None) -> None:
        self.root = node if root is None else root
        self.node: dict[str, Any] = self.follow(node)

    def follow(self, node: Any) -> dict[str, Any]:
        """`node`, or what its $ref names in the same schema."""
        for _ in range(REFERENCES):
            reference = node.get("$ref") if isinstance(node, dict) else None
            if not isinstance(reference, str) or not (reference + "/").startswith("#/"):
                break
            node = self.root
            for name in reference.split("/")[1:]:
                key = name.replace("~1", "/").replace("~0", "~")
                node = node.get(key) if isinstance(node, dict) else None
        return node if isinstance(node, dict) else {}

    def options(self) -> list["Schema"]:
        """The parts of which one, or each, must hold."""
        lists = [self.node.get(name) for name in ("anyOf", "oneOf", "allOf")]
        return [Schema(node, self.root) for nodes in lists if isinstance(nodes, list) for node in nodes]

    @cached_property
    def types(self) -> frozenset[str]:
        """Those it takes; empty for any."""
        return self.types_within(DEPTH)

    def types_within(self, depth: int) -> frozenset[str]:
        stated = self.node.get("type")
        if isinstance(stated, str):
            return frozenset([stated.lower()])
        if isinstance(stated, list):
            return frozenset(name.lower() for name in stated if isinstance(name, str))
        values = self.node.get("enum", [self.node["const"]] if "const" in self.node else None)
        if isinstance(values, list):
            return frozenset(TYPES[type(value)] for value in values)
        options = [option.types_within(depth - 1) for option in self.options()] if depth else []
        if options and ("allOf" in self.node or all(options)):
            return frozenset().union(*options)
        for word, name in (("properties", "object"), ("items", "array")):
            if word in self.node:
                return frozenset([name])
        return frozenset()

    def takes(self, name: str) -> bool:
        types = self.types
        return not types or name in types or (name == "integer" and "number" in types)

    def member(self, key: str, depth: int = DEPTH) -> "Schema":
        """Of the property `key`."""
        properties = self.node.get("properties")
        if isinstance(properties, dict) and key in properties:
            return Schema(properties[key], self.root)
        for option in self.options() if depth else ():
            if (found := option.member(key, depth - 1)).node:
                return found
        return Schema(self.node.get("additionalProperties"), self.root)

    def item(self, depth: int = DEPTH) -> "Schema":
        """Of an array's items."""
        if isinstance(self.node.get("items"), dict):
            return Schema(self.node["items"], self.root)
        for option in self.options() if depth else ():
            if (found := option.item(depth - 1)).node:
                return found
        return Schema()


ANY = Schema()
