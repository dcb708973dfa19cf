"""Scores to tokens: every parameter against a plain reading of its definition."""

from typing import Any

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from inference.request import Sampling
from inference.runner.engine import Job
from inference.runner.engines.gguf.sampling import Choice, Sampler, largest, likeliest

SIZE = 400


def scores_of(seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(SIZE).astype(np.float32) * 3


def plainly(scores: NDArray[np.float32], wanted: Sampling) -> set[int]:
    """The tokens that top_k, top_p and min_p leave, by sorting everything."""
    order = np.argsort(-scores, kind="stable")
    if 0 < wanted.top_k < len(scores):
        order = order[: wanted.top_k]
    weights = np.exp((scores[order] - scores.max()).astype(np.float64) / wanted.temperature)
    if wanted.top_p < 1:
        before = np.cumsum(weights) - weights
        kept = (before < wanted.top_p * weights.sum()) | (np.arange(len(order)) == 0)
        order, weights = order[kept], weights[kept]
    return set(order[weights >= wanted.min_p].tolist())


FILTERS = st.builds(
    Sampling,
    temperature=st.floats(0.2, 2),
    top_k=st.integers(0, SIZE + 5),
    top_p=st.floats(0.01, 1),
    min_p=st.floats(0, 0.9),
)


@settings(deadline=None)
@given(seed=st.integers(0, 999), wanted=FILTERS)
@example(seed=0, wanted=Sampling(temperature=0.25, top_p=1 - 2**-53))
def test_the_filters_leave_what_their_definitions_say(seed: int, wanted: Sampling):
    scores = scores_of(seed)
    ids, _ = likeliest(scores, wanted, scores.max())
    found = set(range(SIZE)) if ids is None else set(ids.tolist())
    # Where a sum meets its bound within rounding, either side may be right: about one token, or about a
    # tail of tokens that together weigh less than that rounding.
    different = list(found ^ plainly(scores, wanted))
    weights = np.exp((scores - scores.max()).astype(np.float64) / wanted.temperature)
    assert len(different) <= 1 or weights[different].sum() < 1e-6 * weights.sum()


@given(seed=st.integers(0, 999), count=st.integers(1, SIZE + 5), hidden=st.integers(0, SIZE))
def test_the_largest_are_found_without_sorting_all(seed: int, count: int, hidden: int):
    scores = scores_of(seed)
    scores[:hidden] = -np.inf
    expected = [id for id in np.argsort(-scores, kind="stable").tolist() if scores[id] > -np.inf][:count]
    assert largest(scores, count).tolist() == expected


def choose(wanted: Sampling, scores: NDArray[np.float32], **job: Any) -> Choice:
    return Sampler(Job(1, [5, 6], 8, wanted, **job), SIZE).choose(scores.copy())


def test_temperature_zero_takes_the_best():
    assert choose(Sampling(temperature=0, top_k=3), scores_of(1)).token == scores_of(1).argmax()


def test_tokens_come_as_often_as_they_are_likely():
    scores = np.full(SIZE, -np.inf, np.float32)
    scores[[3, 7, 9]] = np.log([0.5, 0.3, 0.2])
    sampler = Sampler(Job(1, [5], 8, Sampling(seed=1)), SIZE)
    drawn = [sampler.choose(scores.copy()).token for _ in range(4000)]
    shares = [drawn.count(token) / len(drawn) for token in (3, 7, 9)]
    assert np.allclose(shares, [0.5, 0.3, 0.2], atol=0.04)


def test_a_seed_repeats_and_another_does_not():
    def drawn(seed: int) -> list[int]:
        sampler = Sampler(Job(1, [5], 8, Sampling(seed=seed)), SIZE)
        return [sampler.choose(scores_of(n)).token for n in range(20)]

    assert drawn(1) == drawn(1) != drawn(2)


def test_penalties_bend_the_scores_as_defined():
    sampler = Sampler(
        Job(1, [5, 6], 8, Sampling(0, repetition_penalty=2, presence_penalty=0.5, frequency_penalty=0.25)),
        SIZE,
    )
    sampler.answer.update([7, 7, 6])
    scores = np.zeros(SIZE, np.float32)
    scores[[5, 6, 7]] = 4, -4, 4
    sampler.bend(scores)
    assert scores[[5, 6, 7, 8]].tolist() == [2, -8 - 0.75, 2 - 1.0, 0]


def test_log_probabilities_are_of_what_bias_leaves_and_temperature_does_not_touch():
    scores = np.full(SIZE, -np.inf, np.float32)
    scores[[3, 7]] = np.log([0.25, 0.25])
    wanted = Sampling(temperature=0.1, logit_bias={3: float(np.log(3))})
    found = choose(wanted, scores, logprobs=5)
    assert [token for token, _ in found.top] == [3, 7]
    assert np.allclose([value for _, value in found.top], np.log([0.75, 0.25]))
    assert np.isclose(found.logprob, dict(found.top)[found.token])


class Only:
    """A constraint that allows some tokens, and remembers what came."""

    def __init__(self, *allowed: int) -> None:
        self.bits = np.zeros((SIZE + 31) // 32, np.uint32)
        self.accepted: list[int] = []
        for token in allowed:
            self.bits[token // 32] |= np.uint32(1 << token % 32)

    def mask(self) -> NDArray[np.uint32]:
        return self.bits

    def accept(self, token: int) -> None:
        self.accepted.append(token)


def test_a_constraint_removes_what_it_forbids_and_hears_what_came():
    only = Only(31, 32, 399)
    sampler = Sampler(Job(1, [5], 8, Sampling(temperature=2, top_p=0.99), constraint=only), SIZE)
    drawn = [sampler.choose(scores_of(n)).token for n in range(30)]
    assert set(drawn) <= {31, 32, 399}
    assert only.accepted == drawn


def test_a_constraint_that_allows_nothing_is_no_crash():
    sampler = Sampler(Job(1, [5], 8, Sampling(), constraint=Only(), logprobs=None), SIZE)
    assert 0 <= sampler.choose(scores_of(1)).token < SIZE
