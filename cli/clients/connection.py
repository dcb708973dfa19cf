"""One connection to a model server, in HTTP/1.1: a request goes out in one write, its answer comes piecewise.

In place of httpcore, which takes longer for a request than all else that stands between a user and his model.
What goes wrong is raised as httpx names it. Source: RFC 9112, as llhttp reads it.
"""

import asyncio
import re
import select
import socket
from collections import deque
from typing import cast

import httptools
import httpx

# A peer that vanished without a word is noticed within about 90 s, however long an answer may take.
KEEPALIVE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), seconds)
        for name, seconds in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 6))
        if hasattr(socket, name)
    ),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
]
# A head, or what stands between two pieces of a body, is not longer; and so much of a body waits to be read.
LONGEST_HEAD = HELD = 64 * 1024
# What can stand in a header's value: anything else could end it, and begin another.
VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")


class Connection(asyncio.Protocol):
    """Asked once at a time, and again while it is `reusable`."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self.parser = httptools.HttpResponseParser(self)
        self.more = asyncio.Event()
        # Set for good: it was aborted, or lost.
        self.error: httpx.TransportError | None = None
        self._expect()
        self.ended = True  # nothing was asked

    def _expect(self) -> None:
        """Nothing of an answer is there yet."""
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.headed = self.ended = self.reusable = False
        self.body: deque[bytes] = deque()
        # Bytes that wait to be read, and those that came since the last of them.
        self.held = self.beside = 0

    async def ask(self, request: bytes) -> None:
        """Send it; `status` and `headers` are those of the answer then, and its body is read next."""
        self._expect()
        self.transport.write(request)
        while not self.headed:
            await self._more()

    async def read(self) -> bytes:
        """What came of the body since; nothing at its end."""
        while not self.body and not self.ended:
            await self._more()
        data = b"".join(self.body)
        if self.held > HELD:
            self.transport.resume_reading()
        self.body.clear()
        self.held = 0
        return data

    def abort(self) -> None:
        """Hang up."""
        self.transport.abort()

    def fresh(self) -> bool:
        """Whether an idle connection can be asked: nothing came on it, least of all its end."""
        if self.error or self.transport.is_closing():
            return False
        poll = select.poll()
        poll.register(self.transport.get_extra_info("socket"), select.POLLIN)
        return not poll.poll(0)

    async def _more(self) -> None:
        if self.error:
            raise self.error
        self.more.clear()
        await self.more.wait()

    @property
    def framed(self) -> bool:
        """Whether the answer says where it ends; else it ends with the connection."""
        return any(name.lower() in (b"content-length", b"transfer-encoding") for name, _ in self.headers)

    def _fail(self, error: httpx.TransportError) -> None:
        self.error = self.error or error
        self.reusable = False
        self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        for option in KEEPALIVE:
            self.transport.get_extra_info("socket").setsockopt(*option)

    def data_received(self, data: bytes) -> None:
        self.beside += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(httpx.RemoteProtocolError(f"it is no HTTP ({error})"))
        if self.beside > LONGEST_HEAD:
            self._fail(httpx.RemoteProtocolError(f"its head is longer than {LONGEST_HEAD // 1024} KB"))
        self.more.set()

    def connection_lost(self, error: Exception | None) -> None:
        self.ended = self.ended or (self.headed and not error and not self.framed)
        what = "before the end of its answer" if self.headed else "without an answer"
        self._fail(httpx.ReadError(str(error) if error else f"it hung up {what}"))
        self.more.set()

    # What the parser finds; an error here ends the connection.

    def on_message_begin(self) -> None:
        if self.ended:
            raise ValueError("more than one answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.headed:  # else it stands behind the body
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.status = self.parser.get_status_code()
        self.headed = self.status >= 200
        if not self.headed:  # an interim answer, which says nothing
            self.headers = []

    def on_body(self, data: bytes) -> None:
        self.body.append(data)
        self.held += len(data)
        self.beside = 0
        if self.held > HELD:
            self.transport.pause_reading()

    def on_message_complete(self) -> None:
        self.ended = self.headed
        self.reusable = self.headed and self.held <= HELD and self.parser.should_keep_alive()


def written(request: httpx.Request) -> bytes:
    """A request as it is sent. Raises LocalProtocolError."""
    lines = [b"%s %s HTTP/1.1" % (request.method.encode("ascii"), request.url.raw_path)]
    for name, value in request.headers.raw:
        if not VALUE.fullmatch(value):  # a key, most likely: it is not shown
            raise httpx.LocalProtocolError(f"what is to be sent as {name.decode()} cannot stand in a header")
        lines.append(b"%s: %s" % (name, value))
    return b"\r\n".join([*lines, b"", request.content])
