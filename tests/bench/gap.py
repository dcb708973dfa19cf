"""`python -m tests.bench.gap`: how long a running answer pauses while long prompts join it.

One stream decodes; then four prompts come together, are read, and decode beside it. Its longest pause
while they are read is told in steps of the same batch once all five decode: who shares a model with four
long contexts has steps of that length anyway, and this is what reading may not make much longer.
The status is 1 when the ratio misses its bound.
"""

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import httpx

from tests import processes
from tests.bench.measure import user
from tests.processes import ROOT

JOINING, TOKENS, CONTEXT = 4, 8000, 16_384
ROUNDS = 3
# Tokens that everyone decodes beside the others once all prompts are read: what a step is measured by.
TOGETHER = 60
BOUND = 5.0


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
    """Milliseconds: steps alone, the longest and the 95th percentile while reading, steps of all."""

    alone: float
    longest: float
    usual: float
    together: float
    short_ttft: float
    long_ttft: float


async def measure(url: str, seed: int, tokens: int) -> Figures:
    async with httpx.AsyncClient(base_url=url, timeout=900) as http:
        running, short = Stream(), Stream()
        joining = [Stream() for _ in range(JOINING)]
        tasks = [asyncio.create_task(running.run(http, user(5, seed), CONTEXT - 100))]
        await running.reach(2 * TOGETHER)
        joined = time.perf_counter()
        for number, one in enumerate(joining, seed + 1):
            tasks.append(asyncio.create_task(one.run(http, user(tokens, number), CONTEXT - tokens - 600)))
        await running.reach(len(running.times) + 10)
        asked = time.perf_counter()
        await short.run(http, user(5, seed + 9), 4)
        for one in joining:
            await one.reach(1)
        read = time.perf_counter()
        await running.reach(len(running.times) + TOGETHER)
        end = time.perf_counter()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    pauses = sorted(running.gaps(joined, read))
    return Figures(
        alone=mean(running, running.times[0], joined),
        longest=pauses[-1] * 1e3,
        usual=pauses[int(0.95 * len(pauses))] * 1e3,
        together=mean(running, read, end),
        short_ttft=(short.times[0] - asked) * 1e3,
        long_ttft=(min(one.times[0] for one in joining) - joined) * 1e3,
    )


def mean(stream: Stream, begin: float, end: float) -> float:
    """Milliseconds per token: over a stretch, since tokens may come several in one read."""
    return statistics.mean(stream.gaps(begin, end)) * 1e3


def widened(model: Path) -> None:
    """The tiny model with room for the prompts, which its own context has not."""
    for name, key in (
        ("config.json", "max_position_embeddings"),
        ("tokenizer_config.json", "model_max_length"),
    ):
        file = model / name
        file.write_text(json.dumps({**json.loads(file.read_text()), key: CONTEXT}))


def main() -> int:
    tokens = int(sys.argv[1]) if len(sys.argv) > 1 else TOKENS
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model = folder / "models" / "opta-tiny"
        make = [sys.executable, "manage.py", "make_tiny_model", str(model)]
        subprocess.run(make, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        widened(model)
        lmx = processes.lmx(folder, model.parent)
        try:
            print(f"{JOINING} prompts of about {tokens} tokens join one answer, {ROUNDS} rounds", flush=True)
            asyncio.run(measure(lmx.url, 0, tokens // 8))
            found = [asyncio.run(measure(lmx.url, 100 * (round + 1), tokens)) for round in range(ROUNDS)]
        finally:
            lmx.stop()
    print(f"{'ms':<10}{'step alone':>12}{'95 %':>10}{'longest':>10}{'step of 5':>12}{'ratio':>8}", end="")
    print(f"{'short TTFT':>12}{'long TTFT':>12}")
    for one in found:
        row = f"{'':<10}{one.alone:>12.1f}{one.usual:>10.1f}{one.longest:>10.1f}{one.together:>12.1f}"
        print(f"{row}{one.longest / one.together:>8.2f}{one.short_ttft:>12.0f}{one.long_ttft:>12.0f}")
    ratio = statistics.median(one.longest / one.together for one in found)
    print(f"longest pause in steps: {ratio:.2f} ≤ {BOUND} {'ok' if ratio <= BOUND else 'MISSED'}")
    return 0 if ratio <= BOUND else 1


if __name__ == "__main__":
    sys.exit(main())
