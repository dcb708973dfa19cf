"""What an MLX model holds after some tokens: how sequences keep it apart, and how the prefix cache keeps it.

mlx-lm has one cache object per layer: keys and values, the last of them in a sliding window, or
recurrent state. Which kinds a model has decides what can be done with it.
"""

import copy
import importlib
from typing import Any

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten, tree_map, tree_unflatten
from mlx_lm.models.cache import (
    BatchKVCache,
    CacheList,
    ChunkedKVCache,
    ConcatenateKVCache,
    KVCache,
    QuantizedKVCache,
    RotatingKVCache,
)
from numpy.typing import NDArray

from inference.runner.prefix_cache import Arrays

# One object per layer of the model.
LayerCaches = list[Any]

# The only modules that a revived state may take its classes from.
FAMILY = "mlx_lm.models."


def divisible(cache: Any) -> bool:
    """Whether it can be cut back to any shorter length now."""
    match cache:
        case KVCache() | ConcatenateKVCache() | QuantizedKVCache():
            return True
        case RotatingKVCache():
            return bool(cache.offset < cache.max_size)
        case ChunkedKVCache():
            # `trim` stops silently at the front of what is left.
            return bool(cache.start_position == 0)
        case CacheList():
            return all(map(divisible, cache.caches))
    return False


def always_divisible(cache: Any) -> bool:
    """Whether it can be cut back however long it gets."""
    if isinstance(cache, CacheList):
        return all(map(always_divisible, cache.caches))
    return isinstance(cache, KVCache | ConcatenateKVCache | QuantizedKVCache)


def mergeable(cache: Any) -> bool:
    """Whether sequences can share a batch."""
    if isinstance(cache, CacheList):
        return all(map(mergeable, cache.caches))
    return hasattr(cache, "merge")


def merged(rows: list[LayerCaches]) -> LayerCaches:
    """The caches of one batch; those that cannot be merged are a batch of one as they are."""
    if all(map(mergeable, rows[0])):
        return [merge(list(layer)) for layer in zip(*rows, strict=True)]
    (alone,) = rows
    return alone


def merge(layer: list[Any]) -> Any:
    """One layer's caches in one, one alone of the usual kind without a copy: a neighbour waits for it."""
    alone = layer[0]
    if len(layer) > 1 or type(alone) is not KVCache or alone.empty():
        return alone.merge(layer)
    made = BatchKVCache([0])
    made.keys, made.values = alone.keys, alone.values
    made.offset, made._idx = mx.array([alone.offset]), alone.offset
    return made


def extracted(batch: LayerCaches, row: int) -> LayerCaches:
    """The caches of one row of what `merged` returned; not evaluated."""
    if all(hasattr(cache, "extract") for cache in batch):
        return [cache.extract(row) for cache in batch]
    return copy.deepcopy(batch)


def evaluate(caches: LayerCaches) -> None:
    mx.eval([cache.state for cache in caches])


class Apart:
    """The caches of sequences whose prompts are being read, one list per row: nothing is padded to the
    longest, and nothing copied when a neighbour joins or leaves. To mlx-lm it is a batch's one cache."""

    def __init__(self, *rows: LayerCaches) -> None:
        self.rows = list(rows)

    def __deepcopy__(self, memo: object) -> "Apart":
        return Apart(*self.rows)

    def merge(self, parts: "list[Apart]") -> "Apart":
        return Apart(*(row for part in parts for row in part.rows))

    def extend(self, other: "Apart") -> None:
        self.rows += other.rows

    def filter(self, keep: list[int]) -> None:
        self.rows = [self.rows[row] for row in keep]


class MlxState:
    """`caches` are what the model holds after `length` tokens; copied, and no live batch is held on to."""

    def __init__(self, caches: LayerCaches, length: int) -> None:
        self.caches, self.length = [own(cache) for cache in caches], length
        evaluate(self.caches)
        self.nbytes: int = sum(cache.nbytes for cache in self.caches)
        self.divisible: bool = all(map(divisible, self.caches))

    def cut(self, length: int) -> LayerCaches:
        """Caches of its own for a sequence that begins with the first `length` tokens."""
        # The arrays are shared until written; only the offsets are the copy's own.
        caches = copy.deepcopy(self.caches)
        for cache in caches if length < self.length else ():
            cache.trim(self.length - length)
        return caches

    def dump(self) -> Arrays:
        """Every leaf of every cache's state, named `path:type`; the arrays are views, not copies."""
        state: Any = tree_flatten([(named(cache), cache.state) for cache in self.caches])
        return {"length:int": np.array(self.length)} | dict(written(path, leaf) for path, leaf in state)

    @classmethod
    def revive(cls, arrays: Arrays) -> "MlxState":
        leaves: dict[str, Any] = dict(read(name, array) for name, array in arrays.items())
        length = leaves.pop("length")
        layers: Any = tree_unflatten(list(leaves.items()))
        return cls([class_of(name).from_state(state) for name, state in layers], length)

    def drop(self) -> None:
        self.caches = []


def own(cache: Any) -> Any:
    """A copy that holds no more than its own tokens, in memory of its own once it is evaluated."""
    copied: Any = copy.deepcopy(cache)
    if isinstance(cache, CacheList):
        copied.caches = tuple(own(part) for part in copied.caches)
        return copied
    if isinstance(cache, KVCache) and not cache.empty():
        copied.keys = copied.keys[..., : copied.offset, :]
        copied.values = copied.values[..., : copied.offset, :]
    state: Any = copied.state
    copied.state = tree_map(lambda leaf: mx.contiguous(leaf) if isinstance(leaf, mx.array) else leaf, state)
    return copied


def named(cache: Any) -> str:
    return f"{type(cache).__module__}.{type(cache).__qualname__}"


def class_of(name: str) -> Any:
    module, _, kind = name.rpartition(".")
    if not module.startswith(FAMILY):
        raise ValueError(f"{name} is no cache of mlx-lm's")
    return getattr(importlib.import_module(module), kind)


def written(path: str, leaf: Any) -> tuple[str, NDArray[np.generic]]:
    match leaf:
        case mx.array():
            kind = str(leaf.dtype).removeprefix("mlx.core.")
            # NumPy has no bfloat16.
            return f"{path}:{kind}", np.asarray(leaf.view(mx.uint16) if kind == "bfloat16" else leaf)
        case str():
            return f"{path}:str", np.frombuffer(leaf.encode(), np.uint8)
        case int():
            return f"{path}:int", np.array(leaf)
        case None:
            return f"{path}:none", np.empty(0, np.uint8)
    raise TypeError(f"a cache's state holds a {type(leaf).__name__}, which nothing here can write")


def read(name: str, array: NDArray[np.generic]) -> tuple[str, Any]:
    path, _, kind = name.rpartition(":")
    match kind:
        case "str":
            return path, array.tobytes().decode()
        case "int":
            return path, int(array)
        case "none":
            return path, None
        case "bfloat16":
            return path, mx.array(array).view(mx.bfloat16)
    return path, mx.array(array)
