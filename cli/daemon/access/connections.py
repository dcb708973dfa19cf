"""Connections whose caller's key can end before they do: a revoked token reads nothing more."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any

from cli.daemon.access.tokens import Caller

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# Our own closing codes of a WebSocket are 4000 and HTTP's status.
UNAUTHORIZED = {"code": 4401, "reason": "The token was revoked, or its time is over."}


class Connection:
    """One request as its application sees it: when the key ends, the client has gone."""

    def __init__(self, kind: str, receive: Receive, send: Send) -> None:
        self.kind, self.source, self.sink = kind, receive, send
        self.ended = asyncio.get_running_loop().create_future()
        self.coming: asyncio.Future[Message] | None = None
        # The last message that went out.
        self.last: Message = {"type": ""}

    def end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)

    async def receive(self) -> Message:
        if self.coming is None:
            self.coming = asyncio.ensure_future(self.source())
        await asyncio.wait({self.coming, self.ended}, return_when=asyncio.FIRST_COMPLETED)
        if self.ended.done():
            return {"type": f"{self.kind}.disconnect", **(UNAUTHORIZED if self.kind == "websocket" else {})}
        came, self.coming = self.coming, None
        return came.result()

    async def send(self, message: Message) -> None:
        self.last = message
        await self.sink(message)

    async def close(self) -> None:
        """Say the end that the application did not say, for it took the client for gone."""
        if self.coming:
            self.coming.cancel()
        if not self.ended.done():
            return
        if self.last["type"] in ("websocket.accept", "websocket.send"):
            await self.sink({"type": "websocket.close", **UNAUTHORIZED})
        elif self.last["type"] == "http.response.start" or self.last.get("more_body"):
            await self.sink({"type": "http.response.body", "body": b""})


class Connections:
    """Those of each caller, by its id."""

    def __init__(self) -> None:
        self.open: defaultdict[str, set[Connection]] = defaultdict(set)

    def end(self, id: str) -> None:
        """Show out whoever came by this key."""
        for connection in self.open.get(id, ()):
            connection.end()

    async def run(
        self,
        caller: Caller,
        connection: Connection,
        application: Callable[[Receive, Send], Awaitable[None]],
    ) -> None:
        """The application, until it or the caller's key comes to its end."""
        loop = asyncio.get_running_loop()
        here = self.open[caller.id]
        here.add(connection)
        seconds = (caller.expires - datetime.now(UTC)).total_seconds() if caller.expires else None
        alarm = loop.call_later(seconds, connection.end) if seconds is not None else None
        try:
            await application(connection.receive, connection.send)
        finally:
            if alarm:
                alarm.cancel()
            here.discard(connection)
            if not here:
                self.open.pop(caller.id, None)
            await connection.close()
