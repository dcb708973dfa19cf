"""A model's state for the tests of the prefix cache: one byte per token, and how often it was let go."""

from dataclasses import dataclass, field

import numpy as np

from inference.runner.prefix_cache import Arrays, PrefixCache


@dataclass(eq=False)
class Held:
    tokens: list[int]
    divisible: bool = True
    drops: int = field(default=0, init=False)

    @property
    def nbytes(self) -> int:
        return len(self.tokens)

    def dump(self) -> Arrays:
        return {"held": np.array(self.tokens), "divisible": np.array(self.divisible)}

    def drop(self) -> None:
        self.drops += 1


def revive(arrays: Arrays) -> Held:
    return Held(arrays["held"].tolist(), bool(arrays["divisible"]))


def keep(cache: PrefixCache[Held], tokens: list[int], *, divisible: bool = True) -> Held:
    state = Held(tokens, divisible)
    cache.keep(tokens, state)
    return state


def spell(tokens: list[int]) -> str:
    return "".join(map(chr, tokens))
