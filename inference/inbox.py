"""What a runner has said of one answer, until whoever asked takes it."""

import asyncio
from dataclasses import dataclass

from inference.errors import SlowReader
from inference.request import Event
from opta.errors import Refusal

# Events that may wait: minutes of a fast model's tokens. A client that lets more of them wait has stopped
# reading, and nobody else's memory is spent on it.
MOST = 1 << 16


@dataclass(frozen=True)
class Pause:
    """Between events: nothing more has come so far; `silent` when nothing has for a good while."""

    silent: bool


class Inbox:
    """Filled by the runner's reader, emptied by one client's task."""

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self.events: list[Event] = []
        # Why nothing comes any more; it is told after what came before it.
        self.error: Refusal | None = None
        self.waiting: asyncio.Future[None] | None = None

    def put(self, event: Event) -> bool:
        """Whether there is room for it."""
        if len(self.events) == self.most:
            self.fail(SlowReader(f"{self.most} events waited to be read, and the answer was given up."))
            return False
        self.events.append(event)
        self.wake()
        return True

    def fail(self, error: Refusal) -> None:
        """The first reason stands."""
        self.error = self.error or error
        self.wake()

    def wake(self) -> None:
        if self.waiting and not self.waiting.done():
            self.waiting.set_result(None)

    async def take(self, seconds: float) -> list[Event]:
        """All that has come, or nothing after so many seconds of silence. Raises the Refusal that ends it.

        One timer for a wait, and no task: this is done once for every token.
        """
        if not self.events and not self.error:
            loop = asyncio.get_running_loop()
            self.waiting = loop.create_future()
            timer = loop.call_later(seconds, self.wake)
            try:
                await self.waiting
            finally:
                timer.cancel()
                self.waiting = None
        if not self.events and self.error:
            raise self.error
        taken, self.events = self.events, []
        return taken
