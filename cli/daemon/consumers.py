"""`/v3/ws?session=&after=`: a session's events over a WebSocket, the same text as over the stream."""

import asyncio
from typing import Any
from urllib.parse import parse_qs

from channels.generic.websocket import AsyncWebsocketConsumer

from cli.daemon.errors import UnknownSession
from cli.daemon.hub import Hub
from cli.daemon.log import Log
from cli.protocol.events import SEQ
from opta.errors import Refusal

# Closing codes: ours are 4000 and HTTP's status, the others are the protocol's own (RFC 6455, 7.4.1).
BAD_QUERY, NOT_FOUND, GOING_AWAY, UNSUPPORTED, FAILED = 4400, 4404, 1001, 1003, 1011

# The rows cannot be read now: the client may resume when they can.
UNREADABLE = "The daemon's database failed; its log says how."


class SessionSocket(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels ships no types
    """Sends; what a client has to say goes over HTTP. A slow reader slows only itself."""

    sender: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        hub: Hub = self.scope["hub"]
        query = parse_qs(self.scope["query_string"].decode("latin-1"))
        session, after = query.get("session", [""])[0], query.get("after", ["0"])[0]
        # Accepted first: a client is told why by a closing code, which a denied handshake has not.
        await self.accept()
        if not session or not SEQ.fullmatch(after):
            await self.close(BAD_QUERY, "Give session= and, to resume, after= (an event's number).")
            return
        log = hub.logs.of(session)
        try:
            await log.load()
        except UnknownSession:
            await self.close(NOT_FOUND, "There is no such session.")
            return
        except Refusal:
            await self.close(FAILED, UNREADABLE)
            return
        self.sender = asyncio.create_task(self.send_all(log, int(after)))

    async def send_all(self, log: Log, after: int) -> None:
        try:
            async for event in log.follow(after):
                await self.send(text_data=event.model_dump_json())
            await self.close(GOING_AWAY, "The daemon is stopping.")
        except Refusal:
            await self.close(FAILED, UNREADABLE)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.close(UNSUPPORTED, "This socket only sends: submit and cancel over HTTP.")

    async def disconnect(self, code: int) -> None:
        if self.sender:
            self.sender.cancel()


async def websockets(scope: Any, receive: Any, send: Any) -> None:
    """The one WebSocket route; anything else is denied."""
    if scope["path"] == "/v3/ws":
        await SessionSocket.as_asgi()(scope, receive, send)
    else:
        await send({"type": "websocket.close", "code": NOT_FOUND})
