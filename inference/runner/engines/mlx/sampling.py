"""From scores to tokens, by each request's own parameters, inside one batch."""

from collections.abc import Callable
from functools import lru_cache

import mlx.core as mx
from mlx_lm.sample_utils import apply_top_p, make_sampler

Sampler = Callable[[mx.array], mx.array]


def sampler(temperature: float, top_p: float, seed: int | None) -> Sampler:
    if seed is None or temperature == 0:
        return shared(temperature, top_p)
    return seeded(temperature, top_p, seed)


@lru_cache(maxsize=256)
def shared(temperature: float, top_p: float) -> Sampler:
    """One object for equal parameters: the batch samples in one call only when its samplers are identical."""
    made: Sampler = make_sampler(temp=temperature, top_p=top_p)
    return made


def seeded(temperature: float, top_p: float, seed: int) -> Sampler:
    """A sampler with a random state of its own, which no neighbour in the batch can move."""
    key = mx.random.key(seed % 2**64)

    def sample(logprobs: mx.array) -> mx.array:
        nonlocal key
        key, now = mx.random.split(key)
        if top_p < 1:
            logprobs = apply_top_p(logprobs, top_p)
        return mx.random.categorical(logprobs * (1 / temperature), key=now)

    return sample
