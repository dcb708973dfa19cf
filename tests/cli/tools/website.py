"""A web site on loopback that a test writes, and the web with it in the user's list."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from cli.tools.internet import Internet

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """A real server, and the requests that reached it."""

    def __init__(self) -> None:
        self.handler: Handler = text("hello")
        self.seen: list[web.Request] = []
        self.open = 0
        self.busy, self.free = asyncio.Event(), asyncio.Event()

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        assert isinstance(request, web.BaseRequest)
        self.seen.append(request)
        self.open += 1
        self.busy.set()
        self.free.clear()
        try:
            return await self.handler(request)
        finally:
            self.open -= 1
            self.free.set()

    async def start(self) -> web.ServerRunner:
        runner = web.ServerRunner(web.Server(self, handler_cancellation=True), shutdown_timeout=0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        self.host = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.host}/"
        return runner

    def web(self, **fields: Any) -> Internet:
        return Internet(lambda: [self.host], **fields)


def text(said: str, **fields: Any) -> Handler:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(text=said, **fields)

    return handler


async def dripping(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(request)
    while True:
        await response.write(b"x")
        await asyncio.sleep(0.01)


def leads(where: str, status: int = 302) -> Handler:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": where})

    return handler
