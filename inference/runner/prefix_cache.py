"""Kept prompt prefixes: a prompt that begins like an earlier one is not prefilled twice."""

import copy
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import numpy as np
from mlx_lm.models.cache import can_trim_prompt_cache, trim_prompt_cache
from numpy.typing import NDArray

from inference.request import Prefixes

# One layer's keys and values, or recurrent state, as mlx_lm keeps them.
LayerCaches = list[Any]


@dataclass(frozen=True)
class Kept:
    tokens: NDArray[np.uint32]
    caches: LayerCaches
    nbytes: int


class PrefixCache:
    """Within `budget` bytes; the least recently used goes first. Belongs to the model's thread."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.nbytes = 0
        self.entries: OrderedDict[bytes, Kept] = OrderedDict()

    def find(self, prompt: list[int]) -> tuple[LayerCaches | None, int]:
        """The caches of the longest kept prefix and its length; at least one token is left to prefill."""
        tokens = np.array(prompt[:-1], dtype=np.uint32)
        length, key = max(
            ((usable(kept, tokens), key) for key, kept in self.entries.items()), default=(0, b"")
        )
        if length == 0:
            return None, 0
        self.entries.move_to_end(key)
        kept = self.entries[key]
        # The arrays are shared until written; only the offsets are the copy's own.
        caches = copy.deepcopy(kept.caches)
        trim_prompt_cache(caches, len(kept.tokens) - length)
        return caches, length

    def keep(self, tokens: list[int], caches: LayerCaches) -> None:
        """Remember that `caches` are what the model holds after `tokens`."""
        # Until it is evaluated, an array keeps the whole batch it was cut from.
        mx.eval([cache.state for cache in caches])
        kept = Kept(np.array(tokens, dtype=np.uint32), caches, sum(cache.nbytes for cache in caches))
        if kept.nbytes > self.budget:
            return
        for key in [key for key, old in self.entries.items() if supersedes(kept, old)]:
            self.drop(key)
        self.entries[kept.tokens.tobytes()] = kept
        self.nbytes += kept.nbytes
        while self.nbytes > self.budget:
            self.drop(next(iter(self.entries)))

    def report(self, id: int, decode: Callable[[list[int]], str]) -> Prefixes:
        return Prefixes(id, len(self.entries), self.nbytes, self.budget, 0, 0, 0, [])

    def drop(self, key: bytes) -> None:
        self.nbytes -= self.entries.pop(key).nbytes


def usable(kept: Kept, tokens: NDArray[np.uint32]) -> int:
    """How many of `tokens` the entry can stand for; caches that cannot be trimmed serve whole or not."""
    length = shared_prefix(kept.tokens, tokens)
    return length if length == len(kept.tokens) or can_trim_prompt_cache(kept.caches) else 0


def supersedes(new: Kept, old: Kept) -> bool:
    """Whether everything `old` could serve, `new` can."""
    if np.array_equal(new.tokens, old.tokens):
        return True
    return can_trim_prompt_cache(new.caches) and shared_prefix(new.tokens, old.tokens) == len(old.tokens)


def shared_prefix(left: NDArray[np.uint32], right: NDArray[np.uint32]) -> int:
    size = min(len(left), len(right))
    different = np.flatnonzero(left[:size] != right[:size])
    return int(different[0]) if len(different) else size
