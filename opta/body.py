"""How large a request's body may be, watched as it comes in: Django reads it whole before any middleware."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

from opta.errors import Refusal

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

MEGABYTE = 1024 * 1024
LIMIT = 10 * MEGABYTE
# A refused body is read up to here before the connection is closed on it.
DRAIN = 64 * MEGABYTE
DRAIN_SECONDS = 10.0


class BodyTooLarge(Refusal):
    status = 413
    code = "body_too_large"

    def __init__(self) -> None:
        super().__init__(f"The request body is larger than {LIMIT // MEGABYTE} MB.")


class Body:
    """A request's body as it comes in: `receive` for the application, `drain` for what nobody wants."""

    def __init__(self, receive: Receive) -> None:
        self.source = receive
        self.size = 0
        self.more = True

    async def receive(self) -> MutableMapping[str, Any]:
        """The next message. Raises BodyTooLarge over the limit, before more of it is kept."""
        message = await self.next()
        if self.size > LIMIT:
            raise BodyTooLarge
        return message

    async def drain(self) -> None:
        """Read the rest for a while, so that a client that is still sending sees the answer."""
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                while self.more and self.size < DRAIN:
                    await self.next()

    async def next(self) -> MutableMapping[str, Any]:
        message = await self.source()
        self.size += len(message.get("body", b""))
        self.more = message.get("more_body", False)
        return message
