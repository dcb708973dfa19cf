"""The ASGI entry of LMX: gives each request the pool and the store, and holds its body to what is allowed."""

from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from asgiref.sync import ThreadSensitiveContext
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest

from inference.api.dialect import encode
from inference.api.store import Store
from inference.errors import told
from inference.pool import Pool
from opta.body import Body, BodyTooLarge, Receive
from opta.errors import Refusal

Scope = dict[str, Any]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class Front:
    """Django's application and that of WebSockets, around which there is nothing but this."""

    def __init__(self, http: ASGIHandler, websocket: Application, pool: Pool) -> None:
        self.http, self.websocket = http, websocket
        self.pool = pool
        self.store = Store()
        # For the little in Django that is not async. By itself it starts two threads for every request.
        self.thread = ThreadPoolExecutor(1, "django")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["pool"], scope["store"] = self.pool, self.store
        if scope["type"] == "websocket":
            await self.websocket(scope, receive, send)
            return
        body = Body(receive)
        try:
            async with ThreadSensitiveContext(executor=self.thread):
                await self.http(scope, body.receive, send)
        except BodyTooLarge as error:
            await body.drain()
            await refuse(scope["path"], error, send)


async def refuse(path: str, error: Refusal, send: Send) -> None:
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": encode(told(path, error))})


def pool_of(request: HttpRequest) -> Pool:
    """The pool that the front put into the request's scope."""
    return cast(Pool, request.scope["pool"])  # type: ignore[attr-defined]  # an ASGIRequest


def store_of(request: HttpRequest) -> Store:
    """The store of answers, likewise."""
    return cast(Store, request.scope["store"])  # type: ignore[attr-defined]  # an ASGIRequest
