"""Connections to model servers: to the LAN alone where nothing else was agreed, and no proxy has a say."""

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from functools import partial
from ipaddress import IPv6Address, ip_address
from itertools import chain
from typing import Any

import httpx

from cli.clients.connection import Connection, written
from cli.protocol.failures import Failure

# A server may close an idle connection after 5 s: ours is gone before, or a request could meet the closing.
IDLE_SECONDS = 2.0

# How long an address may take before the next one of its host is tried as well.
NEXT_SECONDS = 0.25
PORTS = {"http": 80, "https": 443}
Origin = tuple[str, bytes, int | None]


class LeavesLan(Failure):
    """A prompt would have gone to a public address that was not configured as a provider."""

    def __init__(self, host: str) -> None:
        super().__init__("leaves_lan", f"{host} is not on this network, and no provider has that address.")


class Open:
    """To anywhere: the user configured the host as a provider. To connect may take so many seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.idle: dict[Origin, list[Connection]] = {}
        self.tls: ssl.SSLContext | None = None

    async def send(self, request: httpx.Request) -> httpx.Response:
        """The answer, its body still to be read; closing it hangs up. Raises httpx's TransportError."""
        url, data = request.url, written(request)
        origin = url.scheme, url.raw_host, url.port
        connection = self._idle(origin) or await self._connect(url)
        try:
            await connection.ask(data)
        except BaseException:
            connection.abort()
            raise
        answer = Body(connection, partial(self._keep, origin, connection))
        return httpx.Response(connection.status, headers=connection.headers, stream=answer)

    def close(self) -> None:
        for connection in chain(*self.idle.values()):
            connection.abort()
        self.idle = {}

    async def hosts(self, url: httpx.URL, port: int) -> list[str]:
        """Where to connect to, in the order to try."""
        return await addresses(url.raw_host.decode("ascii"), port, self.seconds)

    async def _connect(self, url: httpx.URL) -> Connection:
        if url.scheme not in PORTS or not url.host:
            raise httpx.UnsupportedProtocol("it begins with neither http:// nor https://")
        port = url.port or PORTS[url.scheme]
        secure: dict[str, Any] = {}
        if url.scheme == "https":
            secure = {"ssl": self._tls(), "server_hostname": url.raw_host.decode()}
        dials = [partial(connect, host, port, self.seconds, secure) for host in await self.hosts(url, port)]
        return await first(dials) if len(dials) > 1 else await dials[0]()

    def _tls(self) -> ssl.SSLContext:
        if self.tls is None:
            self.tls = httpx.create_ssl_context(trust_env=False)
            self.tls.set_alpn_protocols(["http/1.1"])
        return self.tls

    def _idle(self, origin: Origin) -> Connection | None:
        """One that was asked before, and could be closed by nobody since."""
        idle = self.idle.get(origin, [])
        while idle:
            if (connection := idle.pop()).fresh():
                return connection
            connection.abort()
        return None

    def _keep(self, origin: Origin, connection: Connection) -> None:
        """Take back a connection whose answer nobody reads any more; one that is not at its end hangs up."""
        if not connection.reusable:
            connection.abort()
            return
        self.idle.setdefault(origin, []).append(connection)
        asyncio.get_running_loop().call_later(IDLE_SECONDS, self._expire, origin, connection)

    def _expire(self, origin: Origin, connection: Connection) -> None:
        if connection in (idle := self.idle.get(origin, [])):
            idle.remove(connection)
            connection.abort()


class Lan(Open):
    """To this machine and its network alone: a name is resolved here, and only what is near is asked."""

    async def hosts(self, url: httpx.URL, port: int) -> list[str]:
        nearby = [address for address in await addresses(url.host, port, self.seconds) if on_lan(address)]
        if not nearby:
            raise LeavesLan(url.host)
        return nearby


class Body(httpx.AsyncByteStream):
    """What follows the head of an answer, as it comes."""

    def __init__(self, connection: Connection, leave: Callable[[], None]) -> None:
        self.connection = connection
        self.leave = leave

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while data := await self.connection.read():
            yield data

    async def aclose(self) -> None:
        self.leave()


async def connect(host: str, port: int, wait: float, secure: Mapping[str, Any]) -> Connection:
    """A connection, with TLS where options for it are given. Raises httpx's errors of connecting."""
    try:
        async with asyncio.timeout(wait):
            made = await asyncio.get_running_loop().create_connection(Connection, host, port, **secure)
    except TimeoutError as error:
        raise httpx.ConnectTimeout("") from error
    except (OSError, UnicodeError) as error:
        raise httpx.ConnectError(why(error)) from error
    return made[1]


async def first(dials: Iterable[Callable[[], Coroutine[Any, Any, Connection]]]) -> Connection:
    """The first connection that is made: the next is begun when one fails or takes long (RFC 8305)."""
    waiting, racing = list(dials), set[asyncio.Task[Connection]]()
    try:
        while True:
            if waiting:
                racing.add(asyncio.create_task(waiting.pop(0)()))
            patience = NEXT_SECONDS if waiting else None
            done, _ = await asyncio.wait(racing, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                if not one.exception() or not (waiting or racing - done):
                    return one.result()
            racing -= done
    finally:
        for one in racing:
            one.cancel()


async def addresses(host: str, port: int, wait: float) -> list[str]:
    """Those of a host, in the order to try them. Raises httpx's errors of connecting."""
    with suppress(ValueError):
        return [str(ip_address(host))]  # a number already: no thread has to look it up
    try:
        async with asyncio.timeout(wait):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:  # a timeout is one too
        raise httpx.ConnectError(f"{host} cannot be resolved: {error.strerror or 'no answer'}") from error
    except UnicodeError as error:
        raise httpx.ConnectError(f"{host} is no name of a host") from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def on_lan(address: str) -> bool:
    """Loopback, private, link-local, or shared (RFC 6598, as VPNs use it): whatever is not the Internet."""
    ip = ip_address(address)
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    return not ip.is_global and not ip.is_multicast


def why(error: Exception) -> str:
    """What kept a connection from being made, in the system's words."""
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError | socket.gaierror) and error.errno:
        return os.strerror(error.errno)
    return str(error)
