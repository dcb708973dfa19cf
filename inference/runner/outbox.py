"""A runner's events on their way to its front: what can wait a moment goes together with the next."""

import asyncio
from asyncio import StreamWriter
from collections.abc import Sequence

from inference.request import Event
from inference.runner import link

# Text is gathered so long: two steps of a small model are one write to each client, and no eye sees it.
GATHER_SECONDS = 0.005


class Outbox:
    """Events leave it in the order in which they came."""

    def __init__(self, writer: StreamWriter) -> None:
        self.writer = writer
        self.loop = asyncio.get_running_loop()
        self.gathered: list[Event] = []
        self.timer: asyncio.TimerHandle | None = None
        self.flushed_at = -GATHER_SECONDS

    def send(self, events: Sequence[Event]) -> None:
        """At once."""
        link.send(self.writer, [*self.gathered, *events])
        self.gathered = []

    def gather(self, events: Sequence[Event]) -> None:
        """At once after a rest, else with what comes within the time from the last."""
        self.gathered += events
        if self.gathered and self.timer is None:
            self.timer = self.loop.call_at(self.flushed_at + GATHER_SECONDS, self.flush)

    def flush(self) -> None:
        self.timer, self.flushed_at = None, self.loop.time()
        self.send(())
