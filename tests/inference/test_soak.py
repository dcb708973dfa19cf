"""32 clients that join, hang up and cancel for minutes: nothing of it is left, and nobody else notices.

`pytest -m soak` takes five minutes per engine; beside the other tests it takes seconds.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import httpx
import psutil
import pytest

from inference.runner.session import IDLE
from tests.inference import chat
from tests.inference.test_scheduling import counts
from tests.processes import Role, wait_until

CLIENTS = 32
WHOLE, PART = 300.0, 8.0
# Seconds: a runner gives memory back when nobody has asked for anything for IDLE.
SURELY_IDLE = 1.5 * IDLE
# What memory may be in the end, as a multiple of what it was after warming up.
GROWTH = 1.05
WORDS, LONGEST, LONGEST_IN_PART = ("the", "of", "and", "server", "token"), 600, 120
ENGINES = {"mlx": "models", "gguf": "gguf_models"}


class Client:
    """Asks at random, the same for the same seed, and counts how its requests end."""

    def __init__(self, url: str, seed: int, longest: int, ends: Counter[str]) -> None:
        self.dice, self.longest, self.ends = random.Random(seed), longest, ends
        headers = {
            "Authorization": f"Bearer {seed}",
            "X-Priority": self.dice.choice(("interactive", "batch")),
        }
        self.http = httpx.AsyncClient(base_url=url, headers=headers, timeout=120)

    async def run(self, until: float) -> None:
        async with self.http:
            # All at once ask for as much as they ever do: memory is never needed again as it is here.
            await self.whole(self.heaviest())
            acts = [self.stream, self.hang_up, self.cancel, self.whole]
            for act in self.dice.sample(acts, 2):
                self.ends[await act(self.wanted())] += 1
            while time.monotonic() < until:
                self.ends[await self.dice.choice(acts)(self.wanted())] += 1

    def heaviest(self) -> dict[str, Any]:
        words = " ".join(self.dice.choice(WORDS) for _ in range(self.longest))
        return chat.body(messages=[{"role": "user", "content": words}], max_tokens=32)

    def wanted(self) -> dict[str, Any]:
        dice = self.dice
        length = dice.choice((1, 10, 10, 100, 100, self.longest))
        words = " ".join(dice.choice(WORDS) for _ in range(length))
        fields: dict[str, Any] = {"messages": [{"role": "user", "content": words}]}
        fields["max_tokens"] = dice.choice((1, 8, 8, 32, 150))
        if dice.random() < 0.5:
            fields |= {"temperature": 1, "top_p": 0.9, "seed": dice.randrange(100)}
        if dice.random() < 0.3:
            fields["stop"] = [dice.choice("aeiou")]
        if dice.random() < 0.2:
            fields["n"] = 3
        return chat.body(**fields)

    async def whole(self, wanted: dict[str, Any]) -> str:
        response = await self.http.post("/v1/chat/completions", json=wanted)
        assert response.status_code in (200, 429), response.text
        return "answered" if response.status_code == 200 else "refused"

    async def cancel(self, wanted: dict[str, Any]) -> str:
        try:
            async with asyncio.timeout(self.dice.random()):
                return await self.whole(wanted)
        except TimeoutError:
            return "cancelled"

    async def stream(self, wanted: dict[str, Any], lines: float = float("inf")) -> str:
        """Read so many lines of the answer."""
        request = self.http.stream("POST", "/v1/chat/completions", json={**wanted, "stream": True})
        async with request as response:
            assert response.status_code in (200, 429), await response.aread()
            async for line in response.aiter_lines():
                assert '"error"' not in line or response.status_code == 429, line
                lines -= bool(line)
                if lines <= 0:
                    return "hung up"
        return "streamed" if response.status_code == 200 else "refused"

    async def hang_up(self, wanted: dict[str, Any]) -> str:
        return await self.stream(wanted, self.dice.randrange(1, 20))


async def crowd(url: str, seconds: float, seed: int) -> Counter[str]:
    """How the requests of all clients ended."""
    longest = LONGEST if seconds > PART else LONGEST_IN_PART
    ends: Counter[str] = Counter()
    until = time.monotonic() + seconds
    await asyncio.gather(*(Client(url, seed + number, longest, ends).run(until) for number in range(CLIENTS)))
    return ends


class Memory(NamedTuple):
    """Bytes, at rest: of the model and what runs on it, kept prefixes aside, and of the runner's process."""

    tensors: int
    process: int


def crowded(url: str, seconds: float, seed: int) -> tuple[Memory, Counter[str]]:
    """What is left when a crowd has gone, and how its requests ended."""
    ends = asyncio.run(crowd(url, seconds, seed))
    wait_until(lambda: settled(url), "every job to be gone")
    found = chat.runner(url)
    held = found["activity"]["memory_bytes"] - found["activity"]["prefix_cache_bytes"]
    return Memory(held, at_rest(psutil.Process(found["pid"]))), ends


def at_rest(process: psutil.Process) -> int:
    """Its memory, when that has not changed for as long as a runner waits before it gives some back."""
    found, since = 0, time.monotonic()
    while time.monotonic() < since + SURELY_IDLE:
        if (now := process.memory_info().rss) != found:
            found, since = now, time.monotonic()
        time.sleep(0.1)
    return found


def settled(url: str) -> bool:
    return counts(url) == (0, 0, 0) and chat.runner(url)["in_flight"] == 0


@pytest.mark.soak
@pytest.mark.timeout(3 * WHOLE)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_crowd_leaves_nothing_behind(
    engine: str, start_lmx: Callable[..., Role], request: pytest.FixtureRequest
):
    seconds = WHOLE if request.config.getoption("markexpr") == "soak" else PART
    models = request.getfixturevalue(ENGINES[engine])
    # A small cache is full before the measurement, and changes all the time.
    lmx = start_lmx(LMX_MODELS=str(models), LMX_PREFIX_CACHE_MB="4")
    before = chat.text(lmx.url)
    runner = psutil.Process(chat.runner(lmx.url)["pid"])
    # Every cache is full and every path was taken once before anything is compared.
    asyncio.run(crowd(lmx.url, seconds / 8, seed=500))
    start, _ = crowded(lmx.url, seconds / 2, seed=1000)
    end, ends = crowded(lmx.url, seconds / 2, seed=2000)
    assert ends.keys() >= {"answered", "streamed", "hung up", "cancelled"}
    assert chat.runner(lmx.url)["pid"] == runner.pid
    assert end.tensors <= start.tensors * GROWTH
    assert end.process <= start.process * GROWTH
    assert chat.text(lmx.url) == before
    assert httpx.get(f"{lmx.url}/healthz").status_code == 200
