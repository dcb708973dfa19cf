"""What is kept of a sequence: copied, cut back, written and read again."""

from collections.abc import Callable
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm.models.cache import ArraysCache, CacheList, ChunkedKVCache, KVCache, RotatingKVCache

from inference.runner.engines.mlx.caches import MlxState, always_divisible, divisible, mergeable, merged
from inference.runner.engines.mlx.engine import MlxEngine
from tests.inference.runner.mlx.asking import prompt
from tests.inference.runner.mlx.conftest import Engines
from tests.inference.runner.mlx.folders import WINDOW

FAMILIES = ["llama", "hybrid", "sliding", "chunked"]


def held(engine: MlxEngine, tokens: list[int]) -> list[Any]:
    caches = engine.new_caches()
    scores(engine, caches, tokens)
    return caches


def scores(engine: MlxEngine, caches: list[Any], tokens: list[int]) -> np.ndarray:
    return np.array(engine.weights.model(mx.array([tokens]), cache=caches)[0, -1])


@pytest.mark.parametrize("length", [5, 100])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_state_survives_being_written_and_read(family: str, length: int, engines: Engines):
    engine = engines(family)
    caches = held(engine, prompt(1, length))
    expected = MlxState(caches, length)
    arrays = {name: array.copy() for name, array in expected.dump().items()}
    found = MlxState.revive(arrays)
    assert (found.length, found.nbytes, found.divisible) == (length, expected.nbytes, expected.divisible)
    more = prompt(2, 9)
    assert np.array_equal(scores(engine, found.cut(length), more), scores(engine, expected.cut(length), more))


def test_bfloat16_is_written_bit_by_bit():
    cache = KVCache()
    values = mx.random.normal((1, 2, 300, 8)).astype(mx.bfloat16)
    cache.update_and_fetch(values, values)
    state = MlxState([cache], 300)
    assert {name: array.dtype for name, array in state.dump().items() if "bfloat16" in name} == {
        "0.1.0:bfloat16": np.uint16,
        "0.1.1:bfloat16": np.uint16,
    }
    (found,) = MlxState.revive(state.dump()).cut(300)
    assert found.keys.dtype == mx.bfloat16
    assert mx.array_equal(found.keys, values)


def test_a_written_state_names_no_class_outside_mlx_lm():
    arrays = {
        "0.0:str": np.frombuffer(b"subprocess.Popen", np.uint8),
        "0.1:none": np.empty(0, np.uint8),
        "length:int": np.array(1),
    }
    with pytest.raises(ValueError, match=r"subprocess\.Popen is no cache"):
        MlxState.revive(arrays)


@pytest.mark.parametrize("family", FAMILIES)
def test_going_on_with_a_sequence_leaves_what_was_kept_of_it(family: str, engines: Engines):
    engine = engines(family)
    caches = held(engine, prompt(1, 60))
    state = MlxState(caches, 60)
    before = scores(engine, state.cut(60), prompt(2, 5))
    scores(engine, caches, prompt(3, 40))
    scores(engine, state.cut(60), prompt(4, 40))
    assert np.array_equal(scores(engine, state.cut(60), prompt(2, 5)), before)


@pytest.mark.parametrize("family", ["llama", "sliding"])
def test_a_state_that_is_cut_back_is_as_if_no_more_had_been_read(family: str, engines: Engines):
    engine = engines(family)
    state = MlxState(held(engine, prompt(1, 40)), 40)
    assert state.divisible
    found = scores(engine, state.cut(25), prompt(2, 6))
    assert np.allclose(found, scores(engine, held(engine, prompt(1, 25)), prompt(2, 6)), atol=1e-4)


def test_a_state_takes_no_more_memory_than_its_tokens(engines: Engines):
    engine = engines()
    assert MlxState(held(engine, prompt(1, 10)), 10).nbytes == 10 * 2 * 2 * 2 * 16 * 4


def test_only_what_holds_all_its_tokens_can_be_cut_back():
    keys = mx.zeros((1, 1, WINDOW, 4))
    window = RotatingKVCache(max_size=WINDOW)
    assert divisible(window)
    window.update_and_fetch(keys, keys)
    assert not divisible(window)
    chunked = ChunkedKVCache(chunk_size=8)
    chunked.update_and_fetch(keys, keys)
    assert divisible(chunked)
    chunked.maybe_trim_front()
    assert not divisible(chunked)
    assert not divisible(ArraysCache(2))
    assert divisible(CacheList(KVCache(), KVCache()))
    assert not divisible(CacheList(KVCache(), window))
    assert [always_divisible(one) for one in (KVCache(), CacheList(KVCache()), RotatingKVCache(8))] == [
        True,
        True,
        False,
    ]


def test_a_sequence_alone_is_merged_as_mlx_lm_merges_it_without_a_copy():
    def batch(merge: Callable[[Any], Any]) -> Any:
        cache = KVCache()
        cache.update_and_fetch(*[mx.random.normal((1, 2, 300, 8), key=mx.random.key(1))] * 2)
        made, other = merge(cache), merge(cache)
        one = mx.ones((2, 2, 1, 8))
        made.extend(other)
        made.update_and_fetch(one, one)
        return made

    ours, theirs = batch(lambda cache: merged([[cache]])[0]), batch(lambda cache: cache.merge([cache]))
    assert vars(ours).keys() == vars(theirs).keys()
    for row in range(2):
        left: Any = ours.extract(row).state
        right: Any = theirs.extract(row).state
        assert all(mx.array_equal(*pair) for pair in zip(left[:2], right[:2], strict=True))
        assert left[2] == right[2] == 301
    assert ours.make_mask(1).tolist() == theirs.make_mask(1).tolist()


def test_only_caches_that_can_join_a_batch_are_merged():
    assert all(map(mergeable, [KVCache(), RotatingKVCache(8), ArraysCache(1), CacheList(KVCache())]))
    assert not mergeable(ChunkedKVCache(8))
    assert not mergeable(CacheList(KVCache(), ChunkedKVCache(8)))
