"""mlx-lm's continuous batching, with its loop and the two halves of its batch replaced; nothing else
knows it.

`BatchGenerator` moves sequences from a batch whose prompts are read to one that decodes. Its own halves
pad prompts to the longest, look at one row at a time when rows choose differently, and evaluate the
log-probabilities of the whole vocabulary at every step; its own loop reads as much of every prompt. Written
against mlx-lm 0.32.2; what is relied on stands in tests/inference/runner/mlx/test_contract.py.
"""

from collections.abc import Iterable
from typing import Any

import mlx.core as mx
from mlx_lm.generate import BatchGenerator, GenerationBatch, PromptProcessingBatch

from inference.runner.engines.mlx.caches import Apart, LayerCaches, evaluate, extracted, mergeable, merged
from inference.runner.engines.mlx.sampling import Chooser, Report
from inference.runner.turns import Turns

# Sequences whose prompts are read at the same time, and sequences altogether.
READING, ROWS = 8, 32
# Prompts up to so many tokens are read in one padded batch: it costs little, and spares passes.
TOGETHER = 256
# Steps after which memory that was used once is given back.
CLEAR = 512


class Batches(BatchGenerator):
    """A generator whose `samplers` are `sampling.Choice`s, and whose `caches` are `Apart`."""

    def __init__(self, model: Any, ends: Iterable[int]) -> None:
        super().__init__(model, stop_tokens=[[token] for token in sorted(ends)])
        self._prompt_batch = Reading.empty(model, no_sampler)
        self._generation_batch = Decoding.empty(model, no_sampler)
        self.turns, self.steps = Turns(), 0
        # Prompt tokens that the next step may read.
        self.budget = 0

    def _next(self) -> tuple[list[Any], list[Any]]:
        """One token for all who decode; then whoever has read all but the last token begins to, and more of
        the others' prompts is read. Returns what there is to tell of prompts, and the tokens."""
        answers = self._generation_batch.next() if len(self._generation_batch) else []
        self.steps += 1
        if self.steps % CLEAR == 0:
            mx.clear_cache()
        free = min(READING - len(self._prompt_batch), len(self._unprocessed_sequences))
        if free > 0:
            self._prompt_batch.extend(self._make_batch(free))
        return [*self.begin(), *self.read()], answers

    def begin(self) -> list[Any]:
        """Move whose prompt is read, but for its last token, to those who decode."""
        rows = self._currently_processing
        ready = [place for place, (segments, *_) in enumerate(rows) if left(segments) == 1]
        if not ready:
            return []
        begun = self._prompt_batch.split(ready).generate([rows[place][0][0] for place in ready])
        told = [
            Reading.Response(uid, (rows[place][2],) * 2, end_of_segment=True, end_of_prompt=True)
            for uid, place in zip(begun.uids, ready, strict=True)
        ]
        self._currently_processing = [row for place, row in enumerate(rows) if place not in ready]
        self._generation_batch.extend(begun)
        return told

    def read(self) -> list[Any]:
        """Read of the prompts what the budget allows."""
        rows = self._currently_processing
        counts = self.turns.shares([(left(row[0]) - 1, len(row[0][0])) for row in rows], self.budget)
        told, pieces = [], []
        for uid, row, count in zip(self._prompt_batch.uids, rows, counts, strict=True):
            segments = row[0]
            pieces.append(segments[0][:count])
            segments[0] = segments[0][count:]
            ended = not segments[0]
            if ended:
                segments.pop(0)
            row[1] += count
            told.append(Reading.Response(uid, (row[1], row[2]), ended, end_of_prompt=False))
        self._prompt_batch.prompt(pieces)
        return told


def left(segments: list[list[int]]) -> int:
    return sum(map(len, segments))


def no_sampler(_: mx.array) -> mx.array:
    raise AssertionError("every row has a Choice of its own")


class Reading(PromptProcessingBatch):
    """Prompts, each in caches of its own until it decodes."""

    @property
    def rows(self) -> list[LayerCaches]:
        apart: Apart = self.prompt_cache[0]
        return apart.rows

    def prompt(self, tokens: list[list[int]]) -> None:
        """Read more of every row that has more; in a step that only decodes, none has."""
        reading = [row for row, more in enumerate(tokens) if more]
        small = [row for row in reading if len(self.tokens[row]) + len(tokens[row]) <= TOGETHER]
        if len(small) < 2 or not all(map(mergeable, self.rows[0])):
            small = []
        for row in set(reading) - set(small):
            self.model(mx.array([tokens[row]]), cache=self.rows[row])
            evaluate(self.rows[row])
        if small:
            self.read_together(small, [tokens[row] for row in small])
        if sum(map(len, tokens)) > TOGETHER:
            # What large chunks took is of no use to decoding.
            mx.clear_cache()
        for held, more in zip(self.tokens, tokens, strict=True):
            held += more

    def read_together(self, rows: list[int], tokens: list[list[int]]) -> None:
        padded = PromptProcessingBatch(self.model, list(rows), [self.rows[row] for row in rows])
        padded.prompt(tokens)
        for place, row in enumerate(rows):
            self.rows[row] = padded.extract_cache(place)

    def extract_cache(self, idx: int) -> LayerCaches:
        return self.rows[idx]

    def generate(self, tokens: list[list[int]]) -> "Decoding":
        """All rows decode from here on; `tokens` holds the last one of each prompt."""
        return Decoding(
            self.model,
            self.uids,
            mx.array([last for (last,) in tokens]),
            merged(self.rows),
            self.tokens,
            self.samplers,
            self.fallback_sampler,
            self.logits_processors,
            self.stop_sequences,
            self.max_tokens,
        )


class Decoding(GenerationBatch):
    """Sequences that get one token each per step, every row by its own `Choice`."""

    chooser: Chooser | None = None
    # mlx-lm's own, which are of narrower types there: a row's sampler is its Choice here, and its
    # log-probabilities are a Report or None.
    samplers: Any
    _current_tokens: Any
    _next_tokens: Any
    _current_logprobs: Any
    _next_logprobs: Any

    def _step(self) -> tuple[list[int], Any]:
        """Begin the next step, and return the tokens of the one before with what is to be told of them.

        The device computes the next step while Python deals with these.
        """
        inputs = self._current_tokens = self._next_tokens
        reports: list[Report | None] = self._next_logprobs
        self._current_logprobs = reports
        logits = self.model(inputs[:, None], cache=self.prompt_cache)[:, -1, :]
        if self.chooser is None or self.chooser.rows != self.samplers:
            self.chooser = Chooser(self.samplers)
        self._next_tokens, self._next_logprobs = self.chooser(inputs, logits)
        mx.async_eval(self._next_tokens, self._next_logprobs)  # type: ignore[no-untyped-call]  # mlx
        mx.eval(inputs, reports)
        tokens: list[int] = inputs.tolist()
        for held, token in zip(self.tokens, tokens, strict=True):
            held.append(token)
        return tokens, reports

    def extract_cache(self, idx: int) -> LayerCaches:
        return extracted(self.prompt_cache, idx)
