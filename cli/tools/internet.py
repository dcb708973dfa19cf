"""Asking the web: only what is public or was listed by the user, for so long, and for so much."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import certifi
from aiohttp import (
    AddrInfoType,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
    ThreadedResolver,
)
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from cli.tools.address import PORTS, Networks, neighbours, parsed, public
from opta.version import VERSION

# What is more than this, once unpacked, is not read.
BODY_BYTES = 5_000_000
PIECE_BYTES = 65_536
HOPS = 5
CONNECT_SECONDS = 10.0
# Below this the ports are other services' than the web's, which a request could be made to speak to.
FIRST_PORT = 1024
REDIRECTS = {301, 302, 303, 307, 308}
# Whether an address may be connected to.
May = Callable[[str], bool]
AGENT = {"User-Agent": f"opta/{VERSION}"}


class Closed(ValueError):
    """An address that may not be asked."""


class Unanswered(ValueError):
    """There was no answer, or none to its end."""


@dataclass(frozen=True)
class Asked:
    """A request. What `headers` say is for the server that they were written for."""

    url: URL
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""


@dataclass(frozen=True)
class Answer:
    """`body` is unpacked; `cut` says that there was more. `elsewhere` is where a redirect leads that was
    not followed."""

    url: URL
    status: str
    headers: list[tuple[str, str]]
    kind: str
    charset: str | None
    body: bytes
    cut: bool
    elsewhere: URL | None = None


@dataclass(frozen=True)
class Internet:
    """The web as it may be asked. `listed` gives the hosts, with their port where it is not the scheme's
    own, that may lie anywhere: on this machine too."""

    listed: Callable[[], Iterable[str]] = tuple
    seconds: float = 30.0
    resolver: Callable[[], AbstractResolver] = ThreadedResolver
    own: Callable[[], Networks] = neighbours

    async def ask(self, asked: Asked) -> Answer:
        """The answer, with redirects followed on the same host. Raises Closed or Unanswered.

        Where a redirect leads to another host, whoever allowed this one has not allowed that one: it is
        only told of.
        """
        try:
            async with asyncio.timeout(self.seconds):
                for _ in range(HOPS + 1):
                    answer = await self._once(asked)
                    following = answer.elsewhere
                    if following is None or not upward(asked.url, following):
                        return answer
                    asked = onward(asked, following, answer.status[:3])
        except TimeoutError as error:
            raise Unanswered(f"{asked.url} took longer than {self.seconds:g} s.") from error
        raise Unanswered(f"{asked.url} leads on and on: {HOPS} redirects were followed.")

    async def _once(self, asked: Asked) -> Answer:
        may = anywhere if self._lists(asked.url) else partial(public, own=self.own())
        connector = TCPConnector(
            ssl=secure() if asked.url.scheme == "https" else True,
            resolver=Outward(self.resolver(), asked.url, may),
            socket_factory=partial(dial, asked.url, may),
            force_close=True,
        )
        limit = ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
        session = ClientSession(
            connector=connector, cookie_jar=DummyCookieJar(), headers=AGENT, timeout=limit
        )
        given: dict[str, Any] = {
            "headers": asked.headers,
            "data": asked.body or None,
            "allow_redirects": False,
        }
        try:
            async with session, session.request(asked.method, asked.url, **given) as response:
                return await answered(asked.url, response)
        except ClientError as error:
            raise Unanswered(f"{asked.url} gave no answer: {str(error) or type(error).__name__}") from error

    def _lists(self, url: URL) -> bool:
        """Whether it may lie anywhere. Raises Closed for a port that is none of the web's."""
        place = url.authority.removesuffix(f":{url.port}")
        names = {f"{place}:{url.port}"} | ({place} if url.is_default_port() else set())
        if not names.isdisjoint(self.listed()):
            return True
        if url.port not in PORTS.values() and (url.port or 0) < FIRST_PORT:
            raise Closed(f"{url} has a port that is not for the web: 80, 443, and those from 1024 on are.")
        return False


class Outward(AbstractResolver):
    """What a name leads to on the Internet. Raises Closed for one that leads elsewhere alone."""

    def __init__(self, resolver: AbstractResolver, url: URL, may: May) -> None:
        self.resolver, self.url, self.may = resolver, url, may

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self.resolver.resolve(host, port, family)
        outward = [each for each in found if self.may(each["host"])]
        if found and not outward:
            raise inner(self.url, found[0]["host"])
        return outward

    async def close(self) -> None:
        await self.resolver.close()


def dial(url: URL, may: May, info: AddrInfoType) -> socket.socket:
    """A socket for the very address that is then connected to: no other answer of a resolver comes between.

    Raises Closed.
    """
    family, kind, protocol, _, address = info
    if not may(address[0]):
        raise inner(url, address[0])
    return socket.socket(family, kind, protocol)


def anywhere(address: str) -> bool:
    return True


def inner(url: URL, address: str) -> Closed:
    return Closed(
        f"{url} leads to {address}, which is not on the public Internet. "
        "Only the user can open it: by its host and port in `web_allow` of his config.toml."
    )


def secure() -> ssl.SSLContext:
    """With the system's certificates, a company's own among them, and certifi's: a Mac's Python has none."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


async def answered(url: URL, response: ClientResponse) -> Answer:
    """The answer as far as it is read. Raises Closed for a redirect to what is no web address."""
    elsewhere = leading(url, response)
    body, cut = (b"", False) if elsewhere or not textual(response) else await read(response)
    return Answer(
        url,
        f"{response.status} {response.reason or ''}".strip(),
        list(response.headers.items()),
        response.content_type if "Content-Type" in response.headers else "",
        response.charset,
        body,
        cut,
        elsewhere,
    )


def textual(response: ClientResponse) -> bool:
    """Whether it says that it is text, or does not say what it is."""
    kind = response.content_type
    known = kind.endswith(("json", "xml", "yaml", "javascript", "x-www-form-urlencoded", "toml"))
    return "Content-Type" not in response.headers or kind.startswith("text/") or known


async def read(response: ClientResponse) -> tuple[bytes, bool]:
    """The body, unpacked piece by piece, and whether there is more of it than BODY_BYTES."""
    found = bytearray()
    async for piece in response.content.iter_chunked(PIECE_BYTES):
        found += piece
        if len(found) > BODY_BYTES:
            return bytes(found[:BODY_BYTES]), True
    return bytes(found), False


def leading(url: URL, response: ClientResponse) -> URL | None:
    """Where a redirect leads. Raises Closed for a step down from https."""
    location = response.headers.get("Location")
    if response.status not in REDIRECTS or not location:
        return None
    try:
        following = parsed(str(url.join(URL(location))))
    except ValueError as error:
        raise Closed(f"{url} leads to {location[:200]!r}, and there it does not go on: {error}") from error
    if (url.scheme, following.scheme) == ("https", "http"):
        raise Closed(f"{url} leads from https to {following}, where anybody could read along.")
    return following


def upward(url: URL, following: URL) -> bool:
    """Whether it stays on one server: the same host and port, or from its http to its https."""
    if url.host != following.host:
        return False
    return url.port == following.port or (url.port, following.port) == (80, 443)


def onward(asked: Asked, url: URL, status: str) -> Asked:
    """The request after a redirect, as RFC 9110 has it."""
    headers = asked.headers if asked.url.origin() == url.origin() else {}
    if asked.method != "HEAD" and (status == "303" or (asked.method == "POST" and status in ("301", "302"))):
        return Asked(url, "GET", headers)
    return replace(asked, url=url, headers=headers)
