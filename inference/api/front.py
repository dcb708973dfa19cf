"""The ASGI entry of LMX: gives each request the pool, and holds its body to what is allowed."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from django.conf import settings
from django.core.handlers.asgi import ASGIHandler

from inference.api.dialect import encode
from inference.errors import envelope
from inference.pool import Pool
from opta.api import body_too_large

Scope = dict[str, Any]
Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]


class Front:
    """Django reads a body whole before any of its middleware runs, so its size is watched here."""

    def __init__(self, application: ASGIHandler, pool: Pool) -> None:
        self.application = application
        self.pool = pool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["pool"] = self.pool
        body = Body(receive, settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
        if announced(scope) <= body.limit:
            await self.application(scope, body.receive, send)
            if not body.too_large:
                return
        await refuse(send)


class Body:
    """Passes a request's body on; one that passes the limit looks to the application like a hang-up."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self.source, self.limit, self.size = receive, limit, 0

    @property
    def too_large(self) -> bool:
        return self.size > self.limit

    async def receive(self) -> Message:
        message = await self.source()
        self.size += len(message.get("body", b""))
        return {"type": "http.disconnect"} if self.too_large else message


def announced(scope: Scope) -> int:
    """The Content-Length, which the server has checked to be a number; 0 when there is none."""
    return int(dict(scope["headers"]).get(b"content-length", 0))


async def refuse(send: Send) -> None:
    error = body_too_large()
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": encode(envelope(error))})
