"""From scores to tokens: every row of a batch by its own request, in as few calls as the batch allows."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import mlx.core as mx
import numpy as np

from inference.request import Sampling
from inference.runner.engine import Constraint, Job

# A temperature below this is the same as none, and would leave f32.
COLDEST = 1e-6
# The greatest f32 below 1: a draw never reaches the whole mass.
BELOW_ONE = 1 - 2**-24


class Report(NamedTuple):
    """Log-probabilities of the token that was chosen and of the likeliest ones, likeliest not first."""

    chosen: mx.array
    tokens: mx.array
    values: mx.array


class Choice:
    """How one answer's tokens are chosen, and what that depends on: a state of its own, so that no
    neighbour can move it. `vocabulary` is how many tokens the model scores. Nothing here raises once it
    is made, and all of it is computed when the step is, but for a constraint, which has to know the
    token before."""

    def __init__(self, job: Job, vocabulary: int) -> None:
        self.sampling, self.logprobs, self.vocabulary = job.sampling, job.logprobs, vocabulary
        self.constraint: Constraint | None = job.constraint
        seed = job.sampling.seed
        self.random = np.random.default_rng(None if seed is None else seed % 2**64)
        self.bias = dense(job.sampling.logit_bias, vocabulary)
        # Which tokens the prompt has, and how often the answer has each.
        self.prompt = known(job.tokens, vocabulary) if job.sampling.repetition_penalty != 1 else None
        self.said = mx.zeros(vocabulary) if penalised(job.sampling) else None
        self.begun = False

    @property
    def bends(self) -> bool:
        """Whether the model's scores are changed before one is chosen."""
        return self.bias is not None or self.said is not None or self.constraint is not None

    @property
    def candidates(self) -> int | None:
        """How many of the likeliest tokens have to be put in order; None for none of them."""
        wanted = self.sampling
        if wanted.temperature == 0 or wanted.top_k == 1:
            return 1
        if 0 < wanted.top_k < self.vocabulary:
            return wanted.top_k
        return self.vocabulary if wanted.top_p < 1 else None

    def draw(self) -> float:
        return min(self.random.random(), BELOW_ONE)

    def bend(self, scores: mx.array, last: mx.array) -> mx.array:
        """Scores (vocabulary,) by bias, penalties and constraint; `last` is the token before, (1,)."""
        wanted = self.sampling
        if self.bias is not None:
            scores = scores + self.bias
        if self.said is not None:
            if self.begun:
                self.said = self.said.at[last].add(1)
            said = self.said > 0
            if self.prompt is not None:
                rate = wanted.repetition_penalty
                punished = mx.where(scores > 0, scores / rate, scores * rate)
                scores = mx.where(self.prompt | said, punished, scores)
            scores = scores - wanted.presence_penalty * said - wanted.frequency_penalty * self.said
        if self.constraint is not None:
            scores = self.constrain(scores, self.constraint, last)
        self.begun = True
        return scores

    def constrain(self, scores: mx.array, constraint: Constraint, last: mx.array) -> mx.array:
        if self.begun:
            token: Any = last.item()
            constraint.accept(token)
        mask = constraint.mask()
        if mask is None:
            return scores
        allowed = np.zeros(self.vocabulary, bool)
        bits = np.unpackbits(
            mask.view(np.uint8), count=min(self.vocabulary, 32 * len(mask)), bitorder="little"
        )
        allowed[: len(bits)] = bits
        return mx.where(mx.array(allowed), scores, -mx.inf)

    def report(self, scores: mx.array, token: mx.array) -> Report:
        """Of scores (vocabulary,) and the token (1,) that was chosen by them."""
        scores = scores.astype(mx.float32)
        values = scores - mx.logsumexp(scores)
        count = min(self.logprobs or 0, self.vocabulary)
        top = mx.argpartition(-values, kth=max(count - 1, 0))[:count]
        return Report(values[token], top, values[top])


class Group:
    """Rows of one batch that put equally many candidates in order; `candidates` as Choice's."""

    def __init__(self, rows: list[int], choices: Sequence[Choice]) -> None:
        self.rows, self.choices = rows, [choices[row] for row in rows]
        self.candidates = self.choices[0].candidates
        wanted = [choice.sampling for choice in self.choices]
        self.temperature = column([max(one.temperature, COLDEST) for one in wanted])
        # Above 0, so that the likeliest always stays.
        self.top_p = column([max(one.top_p, COLDEST) for one in wanted])
        self.min_p = column([one.min_p for one in wanted]) if any(one.min_p for one in wanted) else None

    def choose(self, scores: mx.array) -> mx.array:
        """A token (rows,) for each row of scores (rows, vocabulary)."""
        if self.candidates == 1:
            return mx.argmax(scores, axis=-1)
        scores = scores.astype(mx.float32)
        if self.candidates is None:
            return self.drawn(self.likely(scores))
        order = ordered(scores, self.candidates)
        likely = self.likely(mx.take_along_axis(scores, order, axis=-1))
        before = mx.cumsum(likely, axis=-1, inclusive=False)
        mass = before[:, -1:] + likely[:, -1:]
        likely = mx.where(before < self.top_p * mass, likely, 0)
        return mx.take_along_axis(order, self.drawn(likely)[:, None], axis=-1)[:, 0]

    def likely(self, scores: mx.array) -> mx.array:
        """Probabilities, as parts of the greatest."""
        return mx.exp((scores - mx.max(scores, axis=-1, keepdims=True)) / self.temperature)

    def drawn(self, likely: mx.array) -> mx.array:
        """The first place where the mass up to it exceeds a random part of the whole."""
        if self.min_p is not None:
            likely = mx.where(likely >= self.min_p, likely, 0)
        mass = mx.cumsum(likely, axis=-1)
        reached = mass > mass[:, -1:] * column([choice.draw() for choice in self.choices])
        # Rounding may leave the mass unreached; what has no likelihood is not chosen even then.
        return mx.argmax((likely > 0) * (1 + reached.astype(mx.int32)), axis=-1)


class Chooser:
    """Chooses for the rows of one batch; made anew when they change."""

    def __init__(self, choices: Sequence[Choice]) -> None:
        self.rows = list(choices)
        self.bent = [row for row, choice in enumerate(choices) if choice.bends]
        self.told = [row for row, choice in enumerate(choices) if choice.logprobs is not None]
        by_candidates: dict[int | None, list[int]] = {}
        for row, choice in enumerate(choices):
            by_candidates.setdefault(choice.candidates, []).append(row)
        self.groups = [Group(rows, choices) for rows in by_candidates.values()]
        # Where each row's token is when those of all groups stand behind one another.
        self.places = mx.array(np.argsort([row for group in self.groups for row in group.rows]))

    def __call__(self, last: mx.array, scores: mx.array) -> tuple[mx.array, list[Report | None]]:
        """A token (rows,) and a report for each row, by the tokens before (rows,) and scores (rows, all)."""
        if self.bent:
            scores = self.bend(last, scores)
        if len(self.groups) == 1:
            tokens = self.groups[0].choose(scores)
        else:
            chosen = [group.choose(scores[mx.array(group.rows)]) for group in self.groups]
            tokens = mx.concatenate(chosen)[self.places]
        reports: list[Report | None] = [None] * len(self.rows)
        for row in self.told:
            reports[row] = self.rows[row].report(scores[row], tokens[row : row + 1])
        return tokens, reports

    def bend(self, last: mx.array, scores: mx.array) -> mx.array:
        scores = scores.astype(mx.float32)
        if any(self.rows[row].constraint for row in self.bent):
            # It has to know the token before; what the model makes of that is computed meanwhile.
            mx.async_eval(scores)  # type: ignore[no-untyped-call]  # mlx
        bent = [self.rows[row].bend(scores[row], last[row : row + 1]) for row in self.bent]
        if len(bent) == len(self.rows):
            return mx.stack(bent)
        scores[mx.array(self.bent)] = mx.stack(bent)
        return scores


def penalised(wanted: Sampling) -> bool:
    return wanted.repetition_penalty != 1 or bool(wanted.presence_penalty or wanted.frequency_penalty)


def dense(bias: dict[int, float], vocabulary: int) -> mx.array | None:
    """One number per token; the request was refused if it named one that there is not."""
    if not bias:
        return None
    found = np.zeros(vocabulary, np.float32)
    found[list(bias)] = list(bias.values())
    return mx.array(found)


def known(tokens: list[int], vocabulary: int) -> mx.array:
    found = np.zeros(vocabulary, bool)
    found[tokens] = True
    return mx.array(found)


def column(values: list[float]) -> mx.array:
    return mx.array(values, dtype=mx.float32)[:, None]


def ordered(scores: mx.array, count: int) -> mx.array:
    """The `count` likeliest tokens of each row, likeliest first; of equals the one with the lower number."""
    if count == scores.shape[-1]:
        return mx.argsort(-scores, axis=-1)
    some = mx.sort(mx.argpartition(-scores, kth=count - 1, axis=-1)[:, :count], axis=-1)
    among = mx.argsort(-mx.take_along_axis(scores, some, axis=-1), axis=-1)
    return mx.take_along_axis(some, among, axis=-1)
