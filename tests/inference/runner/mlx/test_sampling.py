"""Choosing tokens by scores, beside the definition of `Sampling` written out in NumPy."""

from collections import Counter
from typing import Any

import mlx.core as mx
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from inference.request import Sampling
from inference.runner.engine import Job
from inference.runner.engines.mlx.sampling import Choice, Chooser

VOCABULARY = 50
Scores = NDArray[np.float32]

samplings = st.builds(
    Sampling,
    temperature=st.sampled_from([0.0, 1e-9, 0.3, 1.0, 2.0]),
    top_k=st.sampled_from([0, 1, 3, 49, 50, 10**6]),
    top_p=st.sampled_from([1e-9, 0.1, 0.5, 0.9, 1.0]),
    min_p=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
    repetition_penalty=st.sampled_from([0.5, 1.0, 1.7]),
    presence_penalty=st.sampled_from([-2.0, 0.0, 1.0]),
    frequency_penalty=st.sampled_from([-1.0, 0.0, 2.0]),
    logit_bias=st.dictionaries(
        st.integers(0, VOCABULARY - 1), st.sampled_from([-100.0, -3.0, 5.0, 100.0]), max_size=4
    ),
    seed=st.integers(-(2**63), 2**63),
)


def job(sampling: Sampling, tokens: list[int]) -> Job:
    return Job(1, tokens, 10, sampling)


def scores_of(seed: int, rows: int = 1) -> Scores:
    return np.random.default_rng(seed).normal(0, 3, (rows, VOCABULARY)).astype(np.float32)


def bent(scores: Scores, wanted: Sampling, prompt: list[int], answer: list[int]) -> Scores:
    scores = scores.copy()
    for token, bias in wanted.logit_bias.items():
        scores[token] += np.float32(bias)
    for token in {*prompt, *answer}:
        rate = np.float32(wanted.repetition_penalty)
        scores[token] = scores[token] / rate if scores[token] > 0 else scores[token] * rate
    for token, count in Counter(answer).items():
        scores[token] -= wanted.presence_penalty + wanted.frequency_penalty * count
    return scores


def kept(scores: Scores, wanted: Sampling) -> set[int]:
    """The tokens that may be chosen."""
    order = np.argsort(-scores, kind="stable")
    if wanted.temperature == 0:
        return {int(order[0])}
    likely = np.exp((scores[order] - scores[order[0]]).astype(np.float64) / max(wanted.temperature, 1e-6))
    if wanted.top_k:
        order, likely = order[: wanted.top_k], likely[: wanted.top_k]
    before = np.cumsum(likely) - likely
    stays = (before < wanted.top_p * likely.sum()) & (likely >= wanted.min_p)
    stays[0] = True
    return set(order[stays].tolist())


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(samplings, st.lists(st.integers(0, 49), min_size=1, max_size=5)), min_size=1, max_size=6
    ),
    st.integers(0, 999),
)
def test_every_row_chooses_among_what_its_own_request_keeps(
    rows: list[tuple[Sampling, list[int]]], seed: int
):
    """And the same as it does alone, whatever its neighbours want."""
    together = Chooser([Choice(job(*row), VOCABULARY) for row in rows])
    alone = [Chooser([Choice(job(*row), VOCABULARY)]) for row in rows]
    last = mx.array([prompt[-1] for _, prompt in rows])
    answers: list[list[int]] = [[] for _ in rows]
    for step in range(4):
        scores = scores_of(seed + step, len(rows))
        before = last
        chosen, _ = together(before, mx.array(scores))
        tokens: Any = chosen.tolist()
        for row, (wanted, prompt) in enumerate(rows):
            assert tokens[row] in kept(bent(scores[row], wanted, prompt, answers[row]), wanted)
            single, _ = alone[row](before[row : row + 1], mx.array(scores[row : row + 1]))
            assert single.tolist() == [tokens[row]]
            answers[row].append(tokens[row])
        last = chosen


def test_tokens_come_as_often_as_they_are_likely():
    wanted = Sampling(seed=1, temperature=1.5, top_k=12, top_p=0.95)
    scores = scores_of(3)[0]
    rows = 2000
    chooser = Chooser([Choice(job(wanted, [1]), VOCABULARY)])
    found: Counter[int] = Counter()
    for _ in range(rows):
        chosen, _ = chooser(mx.array([1]), mx.array(scores[None]))
        found.update(chosen.tolist())
    possible = sorted(kept(scores, wanted))
    likely = np.exp(scores[possible] / 1.5)
    expected = likely / likely.sum()
    assert set(found) <= set(possible)
    deviation = np.sqrt(expected * (1 - expected) / rows)
    assert all(
        abs(found[token] / rows - p) < 5 * d
        for token, p, d in zip(possible, expected, deviation, strict=True)
    )


def test_a_seed_repeats_and_another_one_does_not():
    def drawn(seed: int) -> list[int]:
        chooser = Chooser([Choice(job(Sampling(seed=seed), [1]), VOCABULARY)])
        last, found = mx.array([1]), list[int]()
        for step in range(20):
            last, _ = chooser(last, mx.array(scores_of(step)))
            found += last.tolist()
        return found

    assert drawn(5) == drawn(5)
    assert drawn(5) != drawn(6)


def test_of_equally_likely_tokens_the_first_ones_are_the_likeliest():
    """As half-precision scores often are."""
    scores = mx.zeros((1, VOCABULARY))
    for seed in range(20):
        chooser = Chooser([Choice(job(Sampling(seed=seed, top_p=0.05), [1]), VOCABULARY)])
        chosen, _ = chooser(mx.array([1]), scores)
        assert chosen.item() in {0, 1, 2}


def test_half_precision_scores_are_chosen_from_in_single_precision():
    scores = mx.array(scores_of(1)).astype(mx.bfloat16)
    chooser = Chooser([Choice(Job(1, [1], 5, Sampling(seed=1), logprobs=2), VOCABULARY)])
    _, (report,) = chooser(mx.array([1]), scores)
    assert report is not None
    assert report.values.dtype == mx.float32


def test_nothing_waits_for_the_device_without_a_constraint():
    """The token before may be a promise yet: none of this asks for its value."""
    wanted = Sampling(seed=1, top_p=0.9, frequency_penalty=1, repetition_penalty=1.1, logit_bias={3: 1.0})
    chooser = Chooser([Choice(Job(1, [1], 5, wanted, logprobs=3), VOCABULARY)])
    compute = mx.vmap(lambda last: chooser(last[None], mx.array(scores_of(1)))[0])
    assert compute(mx.array([4])).shape == (1, 1)
