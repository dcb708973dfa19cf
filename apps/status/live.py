"""The board as it changes: one reader of the database a process, however many watch."""

import asyncio
import time
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from django.db import connection
from django.template.loader import render_to_string
from django.utils import timezone

from apps.status.summary import Summary, read
from opta import sse

PERIOD = 2.0  # seconds between two looks at the database
PING = 15.0  # seconds of silence after which a proxy might hang up
LIFETIME = 15 * 60.0  # seconds; then the browser connects again, perhaps to a newer server


@dataclass(frozen=True)
class Board:
    """The changing part of the page. Equal facts have equal versions; ages are not facts."""

    summary: Summary
    version: int
    html: str


def board() -> Board:
    """The board now."""
    summary = read(timezone.now())
    version = zlib.crc32(summary.model_dump_json().encode())
    html = render_to_string("status/board.html", {"summary": summary, "version": version})
    return Board(summary, version, html)


def board_for_all() -> Board:
    """The board, read in a thread of no request: nobody else would close its connection."""
    try:
        return board()
    finally:
        connection.close()


class Reader:
    """Waits for PERIOD and reads the board, once for all who ask meanwhile; nobody asks, nobody reads."""

    def __init__(self) -> None:
        self.reading: asyncio.Task[Board] | None = None

    async def next(self) -> Board:
        if self.reading is None or self.reading.done():
            self.reading = asyncio.create_task(self.read())
        # Shielded: a viewer who leaves does not end the reading of the others.
        return await asyncio.shield(self.reading)

    async def read(self) -> Board:
        await asyncio.sleep(PERIOD)
        return await asyncio.to_thread(board_for_all)


async def frames(reader: Reader, seen: str, *, lifetime: float = LIFETIME) -> AsyncIterator[bytes]:
    """An event whenever the board differs from what was `seen`, and pings between."""
    ends = time.monotonic() + lifetime
    spoke = time.monotonic()
    yield sse.PING  # the headers leave at once
    while time.monotonic() < ends:
        found = await reader.next()
        if str(found.version) != seen:
            seen = str(found.version)
            yield sse.frame(found.html, event="board", id=found.version)
        elif time.monotonic() - spoke >= PING:
            yield sse.PING
        else:
            continue
        spoke = time.monotonic()
