"""A turn under way: what it has of the model, and how it can end."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from cli.agent.steering import Steering
from cli.daemon.log import Log
from cli.daemon.models import Turn
from cli.protocol.events import DELTAS, AnyBody, Delta, TurnCancelled, TurnDone, TurnFailed, TurnStopped
from cli.protocol.requests import TurnState

Task = asyncio.Task[None]

Ending = TurnDone | TurnFailed | TurnCancelled | TurnStopped
STATES: dict[type[Ending], TurnState] = {
    TurnDone: "done",
    TurnFailed: "failed",
    TurnCancelled: "cancelled",
    TurnStopped: "stopped",
}


class Ahead(AsyncIterator[AnyBody]):
    """An asynchronous generator that is asked for its first item before anybody waits for it."""

    def __init__(self, items: AsyncGenerator[AnyBody, None]) -> None:
        self.items = items
        self.first: asyncio.Future[AnyBody] | None = asyncio.ensure_future(anext(items))

    async def __anext__(self) -> AnyBody:
        if self.first is None:
            return await anext(self.items)
        first, self.first = self.first, None
        return await first

    def take_delta(self) -> Delta | None:
        """The first item, if it is there by now and a delta; `anext` gives what follows then."""
        first = self.first
        if not first or not first.done() or first.cancelled() or first.exception():
            return None
        if not isinstance(item := first.result(), DELTAS):
            return None
        self.first = None
        return item

    async def aclose(self) -> None:
        """End the generator, wherever it is."""
        if self.first:
            self.first.cancel()
            await asyncio.gather(self.first, return_exceptions=True)
        await self.items.aclose()


@dataclass(eq=False)
class Running:
    """What the model says in a turn, the text added to it, and how it is to end early."""

    turn: Turn
    log: Log
    steering: Steering = field(default_factory=Steering)
    ending: Ending | None = None
    # The one that runs it, once there is one; `heard` while it may be cancelled.
    task: Task | None = None
    heard: bool = False
    # Done when the turn's beginning is stored; the model is asked meanwhile.
    stored: asyncio.Task[Any] = field(init=False)
    said: Ahead | None = None

    def stop(self, ending: Ending) -> None:
        if self.ending is None:
            self.ending = ending
            if self.task and self.heard:
                self.task.cancel()
