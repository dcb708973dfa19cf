"""`python -m tests.bench.gap [ENGINE]`: how long a running answer pauses while long prompts join it.

One stream decodes; then four prompts come together, are read, and decode beside it. Its longest pause is told
in decode steps of all five: who shares a model with four long contexts has steps of that length anyway, and
this is what reading may not make much longer. The status is 1 when the ratio misses its bound.
"""

import asyncio
import json
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import httpx

from inference import tiny
from tests import processes
from tests.bench.measure import user
from tests.inference.gguf import write_tiny

# So many words are about 8,000 tokens.
JOINING, WORDS, CONTEXT = 4, 5600, 16_384
ROUNDS = 3
# Tokens that everyone decodes beside the others once all prompts are read: what a step is measured by.
TOGETHER = 60
BOUND = 5.0
TITLES = ("step alone", "pause", "step of 5", "pause", "95 %", "short TTFT", "first TTFT", "last TTFT")


@dataclass
class Stream:
    """When each piece of one answer came."""

    times: list[float] = field(default_factory=list)
    more: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, http: httpx.AsyncClient, prompt: dict[str, str], max_tokens: int) -> None:
        wanted = {"messages": [prompt], "max_tokens": max_tokens, "temperature": 0, "stream": True}
        async with http.stream("POST", "/v1/chat/completions", json=wanted) as response:
            response.raise_for_status()
            async for line in response.aiter_lines():
                if '"content":"' in line and '"content":""' not in line:
                    self.times.append(time.perf_counter())
                    self.more.set()

    async def reach(self, pieces: int) -> None:
        while len(self.times) < pieces:
            self.more.clear()
            await self.more.wait()

    def gaps(self, begin: float, end: float) -> list[float]:
        """Seconds between pieces; those that came in one read of the socket count as one."""
        inside = [at for at in self.times if begin <= at <= end]
        return [later - at for at, later in pairwise(inside)]


@dataclass(frozen=True)
class Figures:
    """Milliseconds: steps alone, and the longest pause until the first of the prompts is read; steps of all,
    and the longest pause and the 95th percentile from then on; the first tokens of a short prompt that comes
    meanwhile, and of the long ones."""

    alone: float
    before: float
    together: float
    after: float
    usual: float
    short_ttft: float
    first_ttft: float
    last_ttft: float

    @property
    def ratio(self) -> float:
        return max(self.before, self.after) / self.together


async def measure(url: str, seed: int, words: int) -> Figures:
    async with httpx.AsyncClient(base_url=url, timeout=900) as http:
        running, short = Stream(), Stream()
        joining = [Stream() for _ in range(JOINING)]
        tasks = [asyncio.create_task(running.run(http, user(5, seed), CONTEXT - 100))]
        await running.reach(2 * TOGETHER)
        joined = time.perf_counter()
        for number, one in enumerate(joining, seed + 1):
            tasks.append(asyncio.create_task(one.run(http, user(words, number), CONTEXT // 2 - 1000)))
        await running.reach(len(running.times) + 10)
        asked = time.perf_counter()
        await short.run(http, user(5, seed + 9), 4)
        shorts_end = time.perf_counter()
        for one in joining:
            await one.reach(1)
        read = time.perf_counter()
        await running.reach(len(running.times) + TOGETHER)
        end = time.perf_counter()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    firsts = sorted(one.times[0] for one in joining)
    before = running.gaps(shorts_end, firsts[0])[:-1]
    after = sorted(running.gaps(firsts[0], read))
    return Figures(
        alone=mean(running, running.times[0], joined),
        before=max(before) * 1e3,
        together=mean(running, read, end),
        after=after[-1] * 1e3,
        usual=after[int(0.95 * len(after))] * 1e3,
        short_ttft=(short.times[0] - asked) * 1e3,
        first_ttft=(firsts[0] - joined) * 1e3,
        last_ttft=(firsts[-1] - joined) * 1e3,
    )


def mean(stream: Stream, begin: float, end: float) -> float:
    """Milliseconds per token: over a stretch, since tokens may come several in one read."""
    return statistics.mean(stream.gaps(begin, end)) * 1e3


def widened(folder: Path) -> Path:
    """The tiny model with room for the prompts, which its own context has not."""
    tiny.write(folder, lambda _: None)
    for name, key in (
        ("config.json", "max_position_embeddings"),
        ("tokenizer_config.json", "model_max_length"),
    ):
        file = folder / name
        file.write_text(json.dumps({**json.loads(file.read_text()), key: CONTEXT}))
    return folder


def row(one: Figures) -> str:
    figures = [one.alone, one.before, one.together, one.after, one.usual]
    figures += [one.short_ttft, one.first_ttft, one.last_ttft]
    return "".join(f"{figure:>12.1f}" for figure in figures)


def main() -> int:
    engine = sys.argv[1] if len(sys.argv) > 1 else "mlx"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        weights = widened(folder / "mlx" / tiny.NAME)
        if engine == "gguf":
            write_tiny(folder / "gguf" / "tiny.gguf", weights)
        lmx = processes.lmx(folder, folder / engine)
        try:
            print(f"{JOINING} prompts of {WORDS} words join one answer, {ROUNDS} rounds, ms", flush=True)
            print("".join(f"{title:>12}" for title in TITLES), flush=True)
            asyncio.run(measure(lmx.url, 0, WORDS // 8))
            found = []
            for round in range(ROUNDS):
                found.append(asyncio.run(measure(lmx.url, 100 * (round + 1), WORDS)))
                print(row(found[-1]), flush=True)
        finally:
            lmx.stop()
    ratio = statistics.median(one.ratio for one in found)
    print(f"longest pause in steps: {ratio:.2f} ≤ {BOUND} {'ok' if ratio <= BOUND else 'MISSED'}")
    return 0 if ratio <= BOUND else 1


if __name__ == "__main__":
    sys.exit(main())
