"""Text for a turn under way, on its way to the model's next request."""

import asyncio

from cli.protocol.events import TurnSteered


class Steering:
    """Who adds text holds `lock` until it is stored, so that the turn cannot end in between."""

    def __init__(self, closed: bool = False) -> None:
        self.waiting: list[TurnSteered] = []
        self.closed = closed
        self.lock = asyncio.Lock()

    async def take(self) -> list[TurnSteered]:
        """What came since the last request."""
        async with self.lock:
            taken, self.waiting = self.waiting, []
            return taken

    async def close(self) -> bool:
        """Take no more, unless some waits already: then this is False, and the turn goes on."""
        async with self.lock:
            self.closed = not self.waiting
            return self.closed
