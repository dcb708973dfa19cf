"""`/acp`: the Agent Client Protocol over a WebSocket, one JSON-RPC message in each text frame.

Source: https://agentclientprotocol.com/protocol/overview
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from acp.connection import Connection
from acp.exceptions import RequestError
from pydantic_core import to_json

from cli.daemon.acp.agent import Editor
from cli.daemon.errors import Replaced
from cli.daemon.hub import Hub

GOING_AWAY = {"code": 1001, "reason": "The daemon is stopping."}
REPLACED = {"code": 1012, "reason": Replaced().message}

log = logging.getLogger(__name__)

Message = MutableMapping[str, Any]


class Socket:
    """The transport under the library's connection. A reader that is slow makes only its own sends wait."""

    def __init__(
        self, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        self._receive = receive
        self._send = send
        # Requests of the editor that have no answer yet.
        self.owed: set[str] = set()
        self.settled = asyncio.Event()
        self.settled.set()

    async def send(self, message: dict[str, Any]) -> None:
        # What a validator of the library complains of may hold an exception: it is told as its text.
        try:
            await self._send({"type": "websocket.send", "text": to_json(message, fallback=str).decode()})
        except (OSError, RuntimeError):  # as the server has it; `receive` says so as well
            log.debug("an editor went without hearing the last message")
        if "method" not in message:
            self.owed.discard(str(message["id"]))
        if not self.owed:
            self.settled.set()

    async def receive(self) -> dict[str, Any] | None:
        """The next message; None when the editor has gone. What is none is answered as JSON-RPC says."""
        while True:
            frame = await self._receive()
            if frame["type"] == "websocket.disconnect":
                return None
            try:
                message = json.loads(frame.get("text") or "")
            except ValueError:
                await self.refuse(RequestError.parse_error())
                continue
            if isinstance(message, dict):
                if "method" in message and "id" in message:
                    self.owed.add(str(message["id"]))
                    self.settled.clear()
                return message
            await self.refuse(RequestError.invalid_request())

    async def refuse(self, error: RequestError) -> None:
        await self.send({"jsonrpc": "2.0", "id": None, "error": error.to_error_obj()})

    async def end(self, why: dict[str, Any]) -> None:
        await self._send({"type": "websocket.close", **why})

    async def close(self) -> None:
        """Nothing to do: the server closes the socket when `serve` returns."""


async def serve(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """One editor, from its handshake, which the border let through, to its end."""
    await send({"type": "websocket.accept"})
    hub, socket = scope["hub"], Socket(receive, send)
    editor = Editor(hub, scope["caller"])
    connection = Connection(editor.answer, socket, listening=False)
    editor.notify, editor.ask = connection.send_notification, connection.send_request
    ends = [asyncio.create_task(connection.main_loop()), asyncio.create_task(outlive(hub, socket))]
    try:
        done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        done.pop().result()
    finally:
        for task in ends:
            task.cancel()
        await editor.close()
        await connection.close()


async def outlive(hub: Hub, socket: Socket) -> None:
    """The daemon stops: its last words are that every turn has ended."""
    await hub.logs.closed.wait()
    await socket.settled.wait()
    await socket.end(REPLACED if hub.lifetime.replaced else GOING_AWAY)
