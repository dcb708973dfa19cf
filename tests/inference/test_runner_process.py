"""A runner process that says what no runner says: whoever waits for it is told."""

import asyncio
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from inference.catalog import Defaults, Model
from inference.errors import LoadFailed, RunnerDied
from inference.plan import Plan
from inference.pool import Runner
from inference.request import Activity, Event, Failed, Inspect, Ready, Report
from inference.runner import link

MODEL = Model("tiny", Path("/models/tiny"), "mlx", "chat", 100, Defaults(), 1, 1)
ACTIVITY = Activity("mlx", "cpu", "float32", "openblas", 0, 0, 0, 0, 0, 0, 0)
READY = link.frame([Ready(ACTIVITY)])
GARBAGE = {
    "bytes": b"garbage, and no frame at all",
    "a length beyond everything": b"\xff\xff\xff\xff",
    "no message": link.frame([])[:4] + b"\xc1",
    "a message of no known kind": b"\x00\x00\x00\x07\x91\x81\xa4type\x01",
}


@asynccontextmanager
async def starting() -> AsyncIterator[tuple[Runner, socket.socket]]:
    """A runner whose side of the link is ours to write to."""
    ours, theirs = socket.socketpair()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "input()", stdin=PIPE, stdout=PIPE, stderr=DEVNULL
    )
    runner = Runner(Plan(MODEL, MODEL), process, *await asyncio.open_unix_connection(sock=ours))
    with theirs:
        yield runner, theirs
    await runner.stop(RunnerDied("the test is over"))
    await asyncio.gather(*runner.tasks)


async def first(runner: Runner) -> Event:
    async for event in runner.ask(Inspect(0)):
        if isinstance(event, Report):
            return event
    raise AssertionError("it ended without a word")


@pytest.mark.parametrize("garbage", GARBAGE)
def test_who_waits_for_it_is_told(garbage: str):
    async def asking() -> None:
        async with starting() as (runner, theirs), asyncio.timeout(30):
            theirs.sendall(READY)
            await runner.ready
            waiting = asyncio.create_task(first(runner))
            await asyncio.sleep(0)
            theirs.sendall(GARBAGE[garbage])
            with pytest.raises(RunnerDied, match="cannot be read"):
                await waiting
            with pytest.raises(RunnerDied):
                await first(runner)

    asyncio.run(asking())


def test_garbage_instead_of_a_model_is_a_load_that_failed():
    async def loading() -> None:
        async with starting() as (runner, theirs):
            theirs.sendall(GARBAGE["bytes"])
            with pytest.raises(LoadFailed, match="cannot be read"):
                await runner.ready

    asyncio.run(loading())


def test_what_is_said_twice_or_to_nobody_is_let_pass():
    async def asking() -> Event:
        async with starting() as (runner, theirs), asyncio.timeout(30):
            theirs.sendall(READY + READY + link.frame([Report(77, ACTIVITY), Failed(78, "no", "no")]))
            await runner.ready
            waiting = asyncio.create_task(first(runner))
            await asyncio.sleep(0)
            theirs.sendall(link.frame([Report(1, ACTIVITY)]))
            return await waiting

    assert asyncio.run(asking()) == Report(1, ACTIVITY)
