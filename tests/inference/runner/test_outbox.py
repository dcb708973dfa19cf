"""What a runner says leaves in order: text in one frame with what follows it closely, all else at once."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from inference.request import Ended, Event, Text
from inference.runner import link
from inference.runner.outbox import GATHER_SECONDS, Outbox


def word(number: int) -> Text:
    return Text(1, f"word{number} ")


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Outbox, asyncio.StreamReader]]:
    ours, theirs = socket.socketpair()
    _, writer = await asyncio.open_unix_connection(sock=ours)
    reader, other = await asyncio.open_unix_connection(sock=theirs)
    try:
        yield Outbox(writer), reader
    finally:
        for each in (writer, other):
            each.close()
            await each.wait_closed()


async def frame(reader: asyncio.StreamReader) -> list[Event] | None:
    async with asyncio.timeout(10):
        return await link.receive(reader, link.Events)


async def test_text_after_a_rest_leaves_at_once_and_what_follows_it_together():
    async with connected() as (outbox, reader):
        loop = asyncio.get_running_loop()
        outbox.gather([word(1)])
        assert await frame(reader) == [word(1)]
        begun = loop.time()
        for number in (2, 3, 4):
            outbox.gather([word(number)])
        assert await frame(reader) == [word(2), word(3), word(4)]
        assert loop.time() - begun < 100 * GATHER_SECONDS
        await asyncio.sleep(GATHER_SECONDS)
        outbox.gather([word(5)])
        assert await frame(reader) == [word(5)]


async def test_what_cannot_wait_takes_along_what_does():
    async with connected() as (outbox, reader):
        outbox.gather([word(1)])
        assert await frame(reader) == [word(1)]
        outbox.gather([word(2)])
        outbox.send([Ended(1, "stop")])
        assert await frame(reader) == [word(2), Ended(1, "stop")]
        outbox.gather([word(3)])
        assert await frame(reader) == [word(3)]


async def test_a_front_that_is_gone_is_told_nothing():
    async with connected() as (outbox, reader):
        outbox.writer.close()
        outbox.gather([word(1)])
        outbox.send([Ended(1, "stop")])
        assert await frame(reader) is None
