"""The followers of a session over the WebSocket: fifty of them, with one more that stalls and without.

    python -m tests.bench.followers

In one process and without a network: a client is the ASGI connection that it has, and one that stalls
takes a message and never the next. Rounds with it and without take turns. Prints medians; the status is
1 when the stalled one makes anything slower.

append     from Log.append to its return: the publisher's wait, the disk included
delivery   from Log.append to the last of the fifty
"""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import django
from django.core.management import call_command
from django.db import connection

CLIENTS, ROUNDS, EVENTS = 50, 12, 40
# Times with the stalled reader to those without it.
BOUND = 1.2


class Client:
    """Its connection, as the server sees it; `came` are the times at which its messages came."""

    def __init__(self, stalls: bool = False) -> None:
        self.stalls = stalls
        self.came: asyncio.Queue[float] = asyncio.Queue()
        self.gone = asyncio.Event()
        self.connecting = True

    async def receive(self) -> dict[str, Any]:
        if self.connecting:
            self.connecting = False
            return {"type": "websocket.connect"}
        await self.gone.wait()
        return {"type": "websocket.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "websocket.send":
            self.came.put_nowait(time.perf_counter())
            if self.stalls:
                await self.gone.wait()


@asynccontextmanager
async def connected(hub: Any, after: int, *clients: Client) -> AsyncIterator[None]:
    from cli.daemon.access.keys import OWN
    from cli.daemon.consumers import websockets

    query = f"session=s1&after={after}".encode()
    scope = {"type": "websocket", "path": "/v3/ws", "query_string": query, "hub": hub, "caller": OWN}
    tasks = [asyncio.create_task(websockets(scope, each.receive, each.send)) for each in clients]
    await asyncio.sleep(0)
    yield
    for each in clients:
        each.gone.set()
    await asyncio.gather(*tasks)


async def play(hub: Any, stalled: bool) -> tuple[list[float], list[float]]:
    """Seconds of each append, and of each delivery."""
    from cli.protocol.events import TextDone

    log = hub.logs.of("s1")
    healthy = [Client() for _ in range(CLIENTS)]
    appends, deliveries = [], []
    clients = [*healthy, Client(stalls=True)] if stalled else healthy
    async with connected(hub, log.seq, *clients):
        for number in range(EVENTS):
            start = time.perf_counter()
            await log.append("t1", TextDone(text=f"event {number}"))
            appends.append(time.perf_counter() - start)
            deliveries.append(max([await each.came.get() for each in healthy]) - start)
    return appends, deliveries


async def measure() -> dict[str, tuple[float, float]]:
    """Medians in milliseconds: each figure without the stalled reader, and with it."""
    from cli.config import Config
    from cli.daemon.hub import Hub
    from cli.daemon.models import Session

    hub = Hub.make(Config(), "token")
    await hub.database(Session.objects.create, id="s1", model="auto", cwd="/", system="")
    log = hub.logs.of("s1")  # held for all rounds
    await log.load()
    rounds = [(await play(hub, False), await play(hub, True)) for _ in range(1 + ROUNDS)][1:]
    await hub.stop()
    hub.database.close()

    def median(stalled: int, figure: int) -> float:
        return 1e3 * statistics.median(one for pair in rounds for one in pair[stalled][figure])

    return {name: (median(0, n), median(1, n)) for n, name in enumerate(("append", "delivery"))}


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"OPTA_HOME": folder, "DJANGO_SETTINGS_MODULE": "opta.settings.daemon"}
        django.setup()
        call_command("migrate", verbosity=0)
        connection.close()
        figures = asyncio.run(measure())
    print(f"{'ms':<14}{'without':>10}{'stalled':>10}{'ratio':>8}  bound")
    for name, (without, stalled) in figures.items():
        verdict = "ok" if stalled / without <= BOUND else "MISSED"
        print(f"{name:<14}{without:>10.3f}{stalled:>10.3f}{stalled / without:>8.2f}  ≤ {BOUND} {verdict}")
    return int(any(stalled / without > BOUND for without, stalled in figures.values()))


if __name__ == "__main__":
    sys.exit(main())
