"""What stands between a model and its reader: the daemon, measured beside the same server asked directly.

    python -m tests.bench.daemon

Both are asked in turn by the same client, for the same answer of the same scripted server: one token, and
the others as fast as it can once the client has the first. Prints the medians and what the daemon adds;
the status is 1 when a bound is missed. The daemon's rows are written to the disk that holds TMPDIR.

first token   from the request to the first text: of the daemon, from the turn's submit to its first delta
each token    from there to the end of the answer, by the number of tokens
"""

import asyncio
import json
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests import processes
from tests.processes import Role
from tests.scripted import Scripted, says, scripted, text

ROUNDS, TOKENS = 40, 500
# Milliseconds that the daemon may add.
BOUNDS = {"first token": 2.0, "each token": 0.2}
REST = says(*(f"word{n} " for n in range(1, TOKENS)))
ASKED = {"model": "auto", "messages": [{"role": "user", "content": "count"}], "stream": True}


@dataclass(frozen=True)
class Timing:
    """Milliseconds."""

    first: float
    each: float


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def send(url: str, request: str, body: Any = None, **headers: str) -> Connection:
    """One request on a connection of its own; its answer is still to be read."""
    at = urlsplit(url)
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    data = json.dumps(body).encode() if body is not None else b""
    fields = {
        "Host": at.netloc, "Content-Type": "application/json", "Content-Length": str(len(data)), **headers,
    }  # fmt: skip
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    writer.write(f"{request} HTTP/1.1\r\n{head}\r\n".encode() + data)
    return reader, writer


def answer(model: Scripted) -> asyncio.Event:
    """Script an answer; its second token waits for the event."""
    gate = asyncio.Event()
    model.will(text("word0 "), gate, *REST)
    return gate


async def timed(
    start: float, connection: Connection, marks: tuple[bytes, bytes], gate: asyncio.Event
) -> Timing:
    """When the first of these bytes came, which opens the gate, and the second."""
    first, last = marks
    seen, began = b"", 0.0
    while last not in seen:
        piece = await connection[0].read(1 << 16)
        assert piece, seen[-500:]
        seen = seen[-100:] + piece
        if not began and first in seen:
            began = time.perf_counter()
            gate.set()
    return Timing((began - start) * 1e3, (time.perf_counter() - began) * 1e3 / TOKENS)


async def directly(model: Scripted) -> Timing:
    gate = answer(model)
    start = time.perf_counter()
    asked = await send(model.url, "POST /v1/chat/completions", ASKED)
    return await timed(start, asked, (b'"content"', b"[DONE]"), gate)


async def through(daemon: Role, model: Scripted, session: str) -> Timing:
    """A turn of a session that is followed already."""
    gate = answer(model)
    stream = await send(daemon.url, f"GET /v3/sessions/{session}/stream?after=0", **daemon.headers)
    await stream[0].readuntil(b"\r\n\r\n")
    start = time.perf_counter()
    submitted = await send(
        daemon.url, f"POST /v3/sessions/{session}/turns", {"text": "count"}, **daemon.headers
    )
    timing = await timed(start, stream, (b'"text.delta"', b'"turn.done"'), gate)
    submitted[1].close()
    return timing


async def compare(folder: Path) -> dict[str, tuple[float, float]]:
    """The medians of each figure: directly, and through the daemon."""
    async with scripted() as model:
        daemon = await asyncio.to_thread(processes.daemon, folder, model.url)
        try:
            pairs = []
            for round in range(5 + ROUNDS):  # the first ones warm up
                name = f"s{round}"
                made = await send(daemon.url, "POST /v3/sessions", {"id": name}, **daemon.headers)
                await made[0].readuntil(b"}")
                pairs.append((await directly(model), await through(daemon, model, name)))
        finally:
            daemon.stop()
    direct, daemons = zip(*pairs[5:], strict=True)
    median = statistics.median
    return {
        "first token": (median(one.first for one in direct), median(one.first for one in daemons)),
        "each token": (median(one.each for one in direct), median(one.each for one in daemons)),
    }


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(compare(Path(folder) / "opta"))
    held = True
    print(f"{'ms':<14}{'directly':>10}{'daemon':>10}{'ratio':>8}{'added':>10}  bound")
    for name, (direct, daemon) in figures.items():
        added, bound = daemon - direct, BOUNDS[name]
        held = held and added <= bound
        verdict = f"≤ {bound} {'ok' if added <= bound else 'MISSED'}"
        print(f"{name:<14}{direct:>10.3f}{daemon:>10.3f}{daemon / direct:>8.2f}{added:>10.3f}  {verdict}")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
