"""How many threads compute: measured, for it depends on the model's size and on what else the machine does.

A small model waits longer for its threads to meet than they save; a large one wants every core, unless
another process has some of them.
"""

import time

import psutil

from inference.runner.engines.gguf.library import Batch, Context

# Tokens in a batch of many; how often each number of threads is tried.
MANY, ROUNDS = 16, 4
# Seconds of a core that the server and its client need for each step: where all cores compute, they add up.
SERVER = 0.001


def quickest(context: Context, token: int) -> tuple[int, int]:
    """Threads for one token at a time, and for many. Sequence 0 is used, and empty afterwards."""
    batch = Batch(MANY)
    return best(context, batch, [token]), best(context, batch, [token] * MANY)


def best(context: Context, batch: Batch, tokens: list[int]) -> int:
    all_cores = cores()
    times: dict[int, list[float]] = {count: [] for count in candidates(all_cores)}
    for _ in range(ROUNDS):  # in turn, so that a busy moment touches all alike
        for count, found in times.items():
            context.use_threads(count, count)
            found.append(seconds(context, batch, tokens))
    return min(times, key=lambda count: min(times[count][1:]) + SERVER * (count == all_cores))


def seconds(context: Context, batch: Batch, tokens: list[int]) -> float:
    batch.clear()
    batch.add(0, tokens, 0, scored=True)
    start = time.perf_counter()
    context.decode(batch)
    context.scores(1)  # waits for what is computed elsewhere, as on a GPU
    spent = time.perf_counter() - start
    context.forget(0)
    return spent


def candidates(cores: int) -> list[int]:
    return sorted({1, max(cores // 2, 1), max(cores - 1, 1), cores})


def cores() -> int:
    """Those that this process may use: hyperthreads only take turns at the same multipliers."""
    allowed = len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else None
    found = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    return min(found, allowed or found)
