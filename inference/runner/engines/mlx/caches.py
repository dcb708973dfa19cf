"""What an MLX model holds after some tokens, as the prefix cache keeps it."""

import copy
from typing import Any

import mlx.core as mx
from mlx_lm.models.cache import can_trim_prompt_cache, trim_prompt_cache

from inference.runner.prefix_cache import Arrays

# One layer's keys and values, or recurrent state, as mlx_lm keeps them.
LayerCaches = list[Any]


class MlxState:
    """`caches` are what the model holds after `length` tokens."""

    def __init__(self, caches: LayerCaches, length: int) -> None:
        # Until it is evaluated, an array keeps the whole batch it was cut from.
        mx.eval([cache.state for cache in caches])
        self.caches, self.length = caches, length
        self.nbytes = sum(cache.nbytes for cache in caches)
        self.divisible: bool = can_trim_prompt_cache(caches)

    @classmethod
    def revive(cls, arrays: Arrays) -> "MlxState":
        raise NotImplementedError

    def cut(self, length: int) -> LayerCaches:
        """Caches of its own for a sequence that begins with the first `length` tokens."""
        # The arrays are shared until written; only the offsets are the copy's own.
        caches = copy.deepcopy(self.caches)
        trim_prompt_cache(caches, self.length - length)
        return caches

    def dump(self) -> Arrays:
        raise NotImplementedError

    def drop(self) -> None:
        self.caches = []
