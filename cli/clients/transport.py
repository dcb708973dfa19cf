"""Connections to a model server: to the LAN alone where nothing else was agreed, and no proxy has a say."""

import asyncio
import os
import socket
import ssl
from functools import partial
from typing import Any

import certifi
from aiohttp import (
    AddrInfoType,
    ClientConnectorError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
    InvalidURL,
    ServerDisconnectedError,
    TCPConnector,
    ThreadedResolver,
)
from aiohttp.abc import ResolveResult

from cli.clients.lan import LeavesLan, on_lan

# A server may close an idle connection after 5 s: ours is gone before, or a request could meet the closing.
IDLE_SECONDS = 2.0
# A peer that vanished without a word is noticed within about 90 s, however long an answer may take.
KEEPALIVE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), seconds)
        for name, seconds in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 6))
        if hasattr(socket, name)
    ),
]

# Nothing was sent: there is no such host, or nobody there who answers. (No name of a host is a UnicodeError.)
UNREACHED = (ClientConnectorError, ConnectionTimeoutError, InvalidURL, UnicodeError)


class Transport:
    """To one server. To connect may take so many seconds; how long an answer may take is its reader's say."""

    def __init__(self, seconds: float, *, lan: bool) -> None:
        self.timeout = ClientTimeout(total=None, connect=seconds)
        self.lan = lan
        self.session: ClientSession | None = None

    async def send(self, method: str, url: str, **request: Any) -> ClientResponse:
        """The answer, its body still to be read; closing it hangs up.

        Raises aiohttp's ClientError, one of UNREACHED, or ValueError for what cannot stand in a header.
        """
        if self.session is None:  # made here, since it belongs to the running loop
            self.session = self._session(secure=url.startswith("https:"))
        for _ in range(2):  # the loop sees which idle connections have ended, before one is asked again
            await asyncio.sleep(0)
        return await self.session.request(method, url, allow_redirects=False, **request)

    async def close(self) -> None:
        if self.session:
            await self.session.close()

    def _session(self, *, secure: bool) -> ClientSession:
        connector = TCPConnector(
            ssl=tls() if secure else True,
            resolver=Nearby() if self.lan else ThreadedResolver(),
            socket_factory=partial(dial, self.lan),
            keepalive_timeout=IDLE_SECONDS,
            limit=0,
        )
        return ClientSession(connector=connector, cookie_jar=DummyCookieJar(), timeout=self.timeout)


class Nearby(ThreadedResolver):
    """What a name leads to on this network. Raises LeavesLan for one that leads elsewhere alone."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = [each for each in await super().resolve(host, port, family) if on_lan(each["host"])]
        if not found:
            raise LeavesLan(host)
        return found


def tls() -> ssl.SSLContext:
    """With the certificates of certifi: a Python of its makers' finds none on a Mac."""
    context = ssl.create_default_context(cafile=certifi.where())
    context.set_alpn_protocols(["http/1.1"])
    return context


def dial(lan: bool, info: AddrInfoType) -> socket.socket:
    """A socket for one address. Raises LeavesLan: of one that stands in a URL no resolver is asked."""
    family, kind, protocol, _, address = info
    if lan and not on_lan(address[0]):
        raise LeavesLan(address[0])
    made = socket.socket(family, kind, protocol)
    for option in KEEPALIVE:
        made.setsockopt(*option)
    return made


def why(error: BaseException) -> str:
    """What went wrong, on one line: in the system's words, or in aiohttp's for what is no answer."""
    if isinstance(error, ServerDisconnectedError):
        return "it hung up without an answer"
    if isinstance(error, ConnectionTimeoutError):
        return "it did not answer in time"
    if isinstance(error, ClientConnectorError):
        error = error.os_error
    if isinstance(error, OSError) and error.errno and not isinstance(error, ssl.SSLError | socket.gaierror):
        return os.strerror(error.errno)
    words = getattr(error.__cause__, "message", None) or getattr(error, "strerror", None) or str(error)
    return str(words).partition("\n")[0].rstrip(":.")
