"""Measure any OpenAI-compatible chat server over HTTP, the same way for each.

decode_tps    tokens per second after the first, one stream
prefill_ms    time to the first token of a long prompt that no cache knows
ttft_ms       time to the first token of a short prompt that no cache knows
warm_ttft_ms  time to the first token of the long prompt, sent again
turn_ttft_ms  the same, with one more turn behind it
tps@8         tokens per second of eight streams together
ttft@8_ms     median time to the first token of eight streams that start together
"""

import asyncio
import json
import random
import socket
import statistics
import time
from dataclasses import dataclass
from typing import Any

import httpx

WORDS = """local model server daemon session token prompt cache memory tensor stream status vault
release channel guide admin agent tool result file read write search test build deploy monitor"""
STREAMS = 8
TOKENS, LONG, SHORT = 48, 400, 12

Messages = list[dict[str, str]]
Figures = dict[str, float]


@dataclass(frozen=True)
class Timing:
    """One streamed answer; times in seconds."""

    first: float
    total: float
    completion_tokens: int

    @property
    def speed(self) -> float:
        """Tokens per second after the first."""
        return (self.completion_tokens - 1) / (self.total - self.first)


def words(count: int, seed: int) -> str:
    dice, known = random.Random(seed), WORDS.split()
    return f"{seed} " + " ".join(dice.choice(known) for _ in range(count))


def user(count: int, seed: int) -> dict[str, str]:
    return {"role": "user", "content": words(count, seed)}


def wanted(messages: Messages, max_tokens: int) -> dict[str, Any]:
    return {
        "messages": messages, "max_tokens": max_tokens, "temperature": 0,
        "stream": True, "stream_options": {"include_usage": True},
    }  # fmt: skip


async def ask(client: httpx.AsyncClient, messages: Messages, max_tokens: int) -> Timing:
    start, chunks = time.perf_counter(), []
    asked = wanted(messages, max_tokens)
    async with client.stream("POST", "/v1/chat/completions", json=asked) as response:
        if response.status_code != 200:
            raise RuntimeError(f"{response.url}: {response.status_code} {(await response.aread())[:300]!r}")
        # Read now and understood afterwards: the client takes its time from the cores that the server has.
        async for chunk in response.aiter_raw():
            chunks.append((time.perf_counter(), chunk))
    return understood(start, time.perf_counter(), chunks)


def understood(start: float, end: float, chunks: list[tuple[float, bytes]]) -> Timing:
    """The answer that came in `chunks`, each with its time."""
    first, said, usage, rest = 0.0, 0, {}, b""
    for at, chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.startswith(b"data: {"):
                event = json.loads(line.removeprefix(b"data: "))
                usage = event.get("usage") or usage
                if says_something(event):
                    first, said = first or at, said + 1
    # llama_cpp.server tells no usage of a stream, but says each token by itself.
    return Timing(first - start, end - start, usage.get("completion_tokens", said))


def says_something(event: dict[str, Any]) -> bool:
    return any(choice["delta"].get("content") for choice in event.get("choices", []))


async def measure(url: str, seed: int) -> Figures:
    """All figures of one server, with prompts that only this `seed` gives."""
    async with httpx.AsyncClient(base_url=url, timeout=300) as client:
        short = await ask(client, [user(SHORT, seed)], TOKENS)
        long = [{"role": "system", "content": words(LONG, seed + 1)}, user(1, seed + 2)]
        cold, warm = await ask(client, long, 8), await ask(client, long, 8)
        turn = [*long, {"role": "assistant", "content": words(8, seed + 3)}, user(SHORT, seed + 4)]
        next_turn = await ask(client, turn, 8)
        start = time.perf_counter()
        many = [ask(client, [user(SHORT, seed + 10 + number)], TOKENS) for number in range(STREAMS)]
        together = await asyncio.gather(*many)
        wall = time.perf_counter() - start
    return {
        "decode_tps": short.speed,
        "prefill_ms": cold.first * 1e3,
        "ttft_ms": short.first * 1e3,
        "warm_ttft_ms": warm.first * 1e3,
        "turn_ttft_ms": next_turn.first * 1e3,
        f"tps@{STREAMS}": sum(timing.completion_tokens for timing in together) / wall,
        f"ttft@{STREAMS}_ms": statistics.median(timing.first for timing in together) * 1e3,
    }


def decode_speed(url: str, seed: int, tokens: int) -> float:
    """Tokens per second of one stream of so many, read from the bare socket: what reading costs is not the
    server's, and on a small machine it takes from the same cores."""
    at = httpx.URL(url)
    body = json.dumps(wanted([user(SHORT, seed)], tokens)).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {at.host}:{at.port}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    chunks = []
    with socket.create_connection((at.host, at.port or 80)) as connection:
        start = time.perf_counter()
        connection.sendall(head.encode() + body)
        while chunk := connection.recv(1 << 16):
            chunks.append((time.perf_counter(), chunk))
    return understood(start, time.perf_counter(), chunks).speed


async def compare(urls: list[str], rounds: int) -> dict[str, list[float]]:
    """Each figure's median for each server, measured in turn: the machine's moods touch all alike."""
    found: list[list[Figures]] = []
    for round in range(rounds + 1):  # the first one warms up
        found.append([await measure(url, seed=1000 * (round + 1)) for url in urls])
    counted = found[1:]
    return {
        name: [statistics.median(figures[server][name] for figures in counted) for server in range(len(urls))]
        for name in counted[0][0]
    }
