"""A radix tree over token sequences: what is kept for the longest beginning of a prompt.

As in SGLang's RadixAttention (https://arxiv.org/abs/2312.07104, section 3). A search reads the prompt
once, however many sequences there are.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.uint32]
Value = TypeVar("Value")


@dataclass(eq=False, slots=True)
class Node(Generic[Value]):
    # The tokens from the parent to here, and the length of the whole sequence that ends here.
    edge: Tokens
    depth: int
    parent: "Node[Value] | None"
    value: Value | None = None
    divisible: bool = False
    # Divisible values here and below.
    spread: int = 0
    # By the first token of their edges.
    children: "dict[int, Node[Value]]" = field(default_factory=dict)

    def up(self) -> "Iterator[Node[Value]]":
        node: Node[Value] | None = self
        while node:
            yield node
            node = node.parent


class Radix(Generic[Value]):
    """Values by sequence. A divisible one stands for every beginning of its sequence too."""

    def __init__(self) -> None:
        self.root: Node[Value] = Node(np.empty(0, np.uint32), 0, None)

    def put(self, tokens: Tokens, value: Value, *, divisible: bool) -> None:
        """`tokens` has at least one token, and no value yet."""
        node, shared = self.descend(tokens)
        if node.parent and shared < node.depth:
            node = split(node, node.parent, shared)
        if shared < len(tokens):
            node.children[int(tokens[shared])] = node = Node(tokens[shared:], len(tokens), node)
        node.value, node.divisible = value, divisible
        for above in node.up():
            above.spread += divisible

    def pop(self, tokens: Tokens) -> Value | None:
        node, shared = self.descend(tokens)
        if shared < len(tokens) or shared < node.depth or node.value is None:
            return None
        for above in node.up():
            above.spread -= node.divisible
        value, node.value, node.divisible = node.value, None, False
        prune(node)
        return value

    def longest(self, tokens: Tokens) -> tuple[Value, int] | None:
        """A value that stands for the longest beginning of `tokens` that any stands for, and its length."""
        node, shared = self.descend(tokens)
        for above in node.up():
            length = min(above.depth, shared)
            if length and above.value is not None and above.depth <= shared:
                return above.value, length
            if length and above.spread:
                return some(above, divisible=True), length
        return None

    def nearest(self, tokens: Tokens) -> tuple[Value, int] | None:
        """A value whose sequence shares the longest beginning with `tokens`, and how long that is."""
        node, shared = self.descend(tokens)
        return (some(node), shared) if self.root.children else None

    def beginnings(self, tokens: Tokens) -> list[Value]:
        """The values of `tokens` and of everything that it begins with."""
        node, shared = self.descend(tokens)
        return [at.value for at in node.up() if at.value is not None and at.depth <= shared]

    def descend(self, tokens: Tokens) -> tuple[Node[Value], int]:
        """The first node whose sequence shares as much with `tokens` as any does, and how much that is."""
        node, shared = self.root, 0
        while shared == node.depth < len(tokens):
            child = node.children.get(int(tokens[shared]))
            if child is None:
                break
            node, shared = child, shared + common(child.edge, tokens[shared:])
        return node, shared


def common(left: Tokens, right: Tokens) -> int:
    """How many tokens both begin with."""
    size = min(len(left), len(right))
    different = left[:size] != right[:size]
    first = int(different.argmax()) if size else 0
    return first if size and different[first] else size


def split(node: Node[Value], parent: Node[Value], depth: int) -> Node[Value]:
    """A new node between the two, in the middle of the edge."""
    at = len(node.edge) - (node.depth - depth)
    above = Node(node.edge[:at], depth, parent, spread=node.spread)
    parent.children[int(node.edge[0])] = above
    above.children[int(node.edge[at])] = node
    node.edge, node.parent = node.edge[at:], above
    return above


def prune(node: Node[Value]) -> None:
    """Take out a node that has no value any more, unless it holds branches together."""
    parent = node.parent
    if parent is None or node.value is not None or len(node.children) > 1:
        return
    if node.children:
        (child,) = node.children.values()
        child.edge, child.parent = np.concatenate([node.edge, child.edge]), parent
        parent.children[int(node.edge[0])] = child
    else:
        del parent.children[int(node.edge[0])]
        prune(parent)


def some(node: Node[Value], *, divisible: bool = False) -> Value:
    """A value at `node` or below, where there is one; only a divisible one, when that is wanted."""
    while node.value is None or (divisible and not node.divisible):
        node = next(child for child in node.children.values() if child.spread or not divisible)
    return node.value
