"""How many threads compute: measured, for it depends on the model's size and on what else the machine does.

A small model waits longer for its threads to meet than they save, unless many tokens are computed at once;
a large one wants every core.
"""

import time

import psutil

from inference.runner.engines.gguf.library import Batch, Context

# Sizes of batches that are tried: one answer, several, a prompt. A batch computes as the next smaller one.
SIZES = (1, 8, 64)
# How often each number of threads is tried.
ROUNDS = 4
# Seconds of a core that the server and its client need for each step: where all cores compute, they add up.
SERVER = 0.001
# Seconds for one token, from which on a model is large.
LARGE = 0.02


class Threads:
    """Sequence 0 of the context is used, and empty afterwards."""

    def __init__(self, context: Context, token: int) -> None:
        self.context, self.batch, self.token = context, Batch(max(SIZES)), token
        self.used = 0
        self.best = dict.fromkeys(SIZES, cores())
        self.use(cores())
        if self.seconds(1) < LARGE:
            self.best = {size: self.quickest(size) for size in SIZES}

    def suit(self, tokens: int) -> None:
        """Compute the next batch, of so many tokens, with the threads that suit it."""
        self.use(self.best[max(size for size in SIZES if size <= max(tokens, 1))])

    def use(self, count: int) -> None:
        if count != self.used:
            self.context.use_threads(count)
            self.used = count

    def quickest(self, size: int) -> int:
        times: dict[int, list[float]] = {count: [] for count in candidates(cores())}
        for _ in range(ROUNDS):  # in turn, so that a busy moment touches all alike
            for count, found in times.items():
                self.use(count)
                found.append(self.seconds(size))
        return min(times, key=lambda count: min(times[count][1:]) + SERVER * (count == cores()))

    def seconds(self, size: int) -> float:
        self.batch.clear()
        self.batch.add(0, [self.token] * size, 0, scored=True)
        start = time.perf_counter()
        self.context.decode(self.batch)
        self.context.scores(1)  # waits for what is computed elsewhere, as on a GPU
        spent = time.perf_counter() - start
        self.context.forget(0)
        return spent


def candidates(cores: int) -> list[int]:
    return sorted({1, max(cores // 2, 1), max(cores - 1, 1), cores})


def cores() -> int:
    """Those that this process may use: hyperthreads only take turns at the same multipliers."""
    allowed = len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else None
    found = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    return min(found, allowed or found)
