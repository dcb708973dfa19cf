"""From scores to tokens, as inference.request.Sampling defines, for one answer at a time."""

from collections import Counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from inference.request import Sampling
from inference.runner.engine import Constraint, Job

Scores = NDArray[np.float32]
# Scores in one block when the largest are looked for.
BLOCK = 64


class Choice(NamedTuple):
    """A token, its log-probability, and (token, log-probability) of the likeliest; 0 and none unasked."""

    token: int
    logprob: float = 0.0
    top: list[tuple[int, float]] = []


class Sampler:
    """Chooses the tokens of one job; its random state is its own."""

    def __init__(self, job: Job, vocabulary: int) -> None:
        self.sampling, self.logprobs = job.sampling, job.logprobs
        self.constraint: Constraint | None = job.constraint
        seed = self.sampling.seed
        self.dice = np.random.Generator(np.random.SFC64(None if seed is None else seed % 2**64))
        bias = {token: value for token, value in self.sampling.logit_bias.items() if 0 <= token < vocabulary}
        self.biased = np.array(list(bias), dtype=np.int64)
        self.bias = np.array(list(bias.values()), dtype=np.float32)
        self.answer: Counter[int] = Counter()
        self.prompt = set(job.tokens) if self.sampling.repetition_penalty != 1 else set()

    def choose(self, scores: Scores) -> Choice:
        """The next token by its `scores`, one per token of the vocabulary, which are written over."""
        self.bend(scores)
        token = draw(scores, self.sampling, self.dice)
        self.answer[token] += 1
        if self.constraint:
            self.constraint.accept(token)
        if self.logprobs is None:
            return Choice(token)
        return report(scores, token, self.logprobs)

    def bend(self, scores: Scores) -> None:
        """Bias, penalties and constraint, in place."""
        wanted = self.sampling
        if len(self.biased):
            scores[self.biased] += self.bias
        if wanted.repetition_penalty != 1:
            seen = np.fromiter(self.prompt | self.answer.keys(), np.int64)
            found = scores[seen]
            scores[seen] = np.where(
                found > 0, found / wanted.repetition_penalty, found * wanted.repetition_penalty
            )
        if self.answer and (wanted.presence_penalty or wanted.frequency_penalty):
            said = np.fromiter(self.answer, np.int64)
            counts = np.fromiter(self.answer.values(), np.float32)
            scores[said] -= wanted.presence_penalty + wanted.frequency_penalty * counts
        if self.constraint and (mask := self.constraint.mask()) is not None:
            allowed = np.unpackbits(mask.view(np.uint8), count=len(scores), bitorder="little")
            scores[allowed == 0] = -np.inf


def draw(scores: Scores, wanted: Sampling, dice: np.random.Generator) -> int:
    best = int(scores.argmax())
    # Not finite: nothing is allowed, or the model computes nonsense; either way there is nothing to draw.
    if wanted.temperature == 0 or not np.isfinite(scores[best]):
        return best
    with np.errstate(over="ignore", under="ignore"):
        ids, weights = likeliest(scores, wanted, scores[best])
    # A race: each token arrives after a time of its own, the likelier the sooner. Unlike a walk along the
    # sum of all, it comes out the same when other neighbours in the batch round a score a little otherwise.
    times = dice.standard_exponential(len(scores), np.float32)
    if ids is not None:
        times = times[ids]
    arrival = np.full_like(times, np.inf)
    np.divide(times, weights, out=arrival, where=weights > 0)
    first = int(arrival.argmin())
    return first if ids is None else int(ids[first])


def likeliest(
    scores: Scores, wanted: Sampling, best: np.float32
) -> tuple[NDArray[np.int64] | None, NDArray[np.float32]]:
    """The tokens that top_k, top_p and min_p leave (None for all), and their weights; the best one's is 1."""
    ids = largest(scores, wanted.top_k) if 0 < wanted.top_k < len(scores) else None
    left = scores if ids is None else scores[ids]
    weights = np.exp((left - best) / np.float32(wanted.temperature))
    if wanted.top_p < 1:
        kept = nucleus(weights, wanted.top_p)
        ids, weights = kept if ids is None else ids[kept], weights[kept]
    if wanted.min_p > 0:
        kept = np.flatnonzero(weights >= wanted.min_p)
        ids, weights = kept if ids is None else ids[kept], weights[kept]
    return ids, weights


def nucleus(weights: NDArray[np.float32], top_p: float) -> NDArray[np.int64]:
    """The fewest of the likeliest whose share is `top_p`, likeliest first."""
    total = weights.sum(dtype=np.float64)
    # All that are less likely than this have less than 1 - top_p together: only the rest is sorted.
    candidates = np.flatnonzero(weights >= (1 - top_p) * total / len(weights))
    order = candidates[np.argsort(-weights[candidates], kind="stable")]
    before = np.cumsum(weights[order], dtype=np.float64) - weights[order]
    return order[: max(1, int(np.searchsorted(before, top_p * total)))]


def largest(scores: Scores, count: int) -> NDArray[np.int64]:
    """The ids of the `count` largest scores above minus infinity, largest first."""
    whole = len(scores) // BLOCK * BLOCK
    tops = scores[:whole].reshape(-1, BLOCK).max(axis=1)
    if count < len(tops):
        # At least `count` scores reach the count-th best of the blocks' best.
        bound = np.partition(tops, len(tops) - count)[len(tops) - count]
        candidates = np.flatnonzero((scores >= bound) & (scores > -np.inf))
    else:
        candidates = np.flatnonzero(scores > -np.inf)
    return candidates[np.argsort(-scores[candidates], kind="stable")][:count]


def report(scores: Scores, token: int, count: int) -> Choice:
    best = scores.max()
    total = float(best) + float(np.log(np.exp(scores - best).sum(dtype=np.float64)))
    top = [(int(id), float(scores[id]) - total) for id in (largest(scores, count) if count else ())]
    return Choice(token, float(scores[token]) - total, top)
