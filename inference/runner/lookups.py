"""How a request fared at the prefix cache, and why no more of it was cached."""

from collections.abc import Callable
from typing import NamedTuple

from inference.request import Lookup
from inference.runner.radix import Tokens

# Tokens to show on each side of a difference, and of them those that the reason quotes.
AROUND, QUOTED = 12, 4

Decode = Callable[[list[int]], str]


class Difference(NamedTuple):
    """Where a kept prompt and an asked one part, and the tokens of both around there."""

    at: int
    kept: list[int]
    asked: list[int]


class Looked(NamedTuple):
    """One lookup, in tokens: text is made only when somebody asks, for most of them nobody looks at."""

    at: float
    prompt_tokens: int
    cached_tokens: int
    reason: str
    difference: Difference | None

    def told(self, decode: Decode) -> Lookup:
        facts = (self.at, self.prompt_tokens, self.cached_tokens)
        if self.difference is None:
            return Lookup(*facts, self.reason)
        at, kept, asked = self.difference
        begin = min(at, AROUND)
        here, there = decode(kept[begin : begin + QUOTED]), decode(asked[begin : begin + QUOTED])
        reason = f"{self.reason}differs at token {at}: kept {here!r} asked {there!r}"
        return Lookup(*facts, reason, at, decode(kept), decode(asked))


def difference(kept: Tokens, asked: Tokens, at: int) -> Difference:
    around = slice(max(at - AROUND, 0), at + AROUND)
    return Difference(at, kept[around].tolist(), asked[around].tolist())
