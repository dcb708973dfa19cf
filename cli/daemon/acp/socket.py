"""`/acp`: the Agent Client Protocol over a WebSocket, one JSON-RPC message in each text frame.

Source: https://agentclientprotocol.com/protocol/overview
"""

import json
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from acp.connection import Connection
from acp.exceptions import RequestError
from pydantic_core import to_json

from cli.daemon.acp.agent import Editor

log = logging.getLogger(__name__)

Message = MutableMapping[str, Any]


class Socket:
    """The transport under the library's connection. A reader that is slow makes only its own sends wait."""

    def __init__(
        self, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        self._receive = receive
        self._send = send

    async def send(self, message: dict[str, Any]) -> None:
        # What a validator of the library complains of may hold an exception: it is told as its text.
        try:
            await self._send({"type": "websocket.send", "text": to_json(message, fallback=str).decode()})
        except (OSError, RuntimeError):  # as the server has it; `receive` says so as well
            log.debug("an editor went without hearing the last message")

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
                return message
            await self.refuse(RequestError.invalid_request())

    async def refuse(self, error: RequestError) -> None:
        await self.send({"jsonrpc": "2.0", "id": None, "error": error.to_error_obj()})

    async def close(self) -> None:
        """Nothing to do: the server closes the socket when `serve` returns."""


async def serve(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """One editor, from its handshake, which the border let through, to its end."""
    await send({"type": "websocket.accept"})
    editor = Editor(scope["hub"], scope["caller"])
    connection = Connection(editor.answer, Socket(receive, send), listening=False)
    editor.notify = connection.send_notification
    try:
        await connection.main_loop()
    finally:
        await editor.close()
        await connection.close()
