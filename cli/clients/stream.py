"""A model server's answer as it comes: server-sent events, for as long as the server shows life."""

import asyncio
import re
from collections.abc import AsyncIterator

from aiohttp import ClientResponse

from cli.clients.server import Server
from cli.protocol.failures import Failure
from cli.protocol.messages import Progress

# How LMX says in a comment how far a prompt is read.
READING = re.compile(rb": ?reading (\d{1,12})/(\d{1,12})")
ALIVE = Progress(done=0, total=0, work="waiting")
# Server-sent events have four fields, and comments.
FIELD = re.compile(rb"(?:data|event|id|retry)?:|(?:data|event|id|retry)$")
# No frame is longer, whatever a model writes; memory should not be a broken server's to fill.
LONGEST_BYTES = 16 << 20


class Stream:
    """One answer. Any byte is a sign of life."""

    def __init__(self, server: Server, response: ClientResponse) -> None:
        self.server = server
        self.response = response
        # Whether the first token came: from then on the server may not be silent for as long.
        self.begun = False

    async def frames(self) -> AsyncIterator[bytes | Progress]:
        """The data of each event; until the first token, how far the prompt is read, with each sign of life.

        A body without any event is one frame: a server that does not stream says all at once, be it an
        answer or an error. A frame that the end of the connection cut short is dropped.
        """
        data: list[bytes] = []
        plain: list[bytes] = []
        framed, held, progress = False, 0, ALIVE
        async for line in self.lines():
            held += len(line)
            if held > LONGEST_BYTES:
                raise self.endless()
            if line.startswith(b"data:"):
                framed = True
                data.append(line.removeprefix(b"data:").removeprefix(b" "))
            elif line.startswith(b":"):
                found = READING.fullmatch(line)
                progress = Progress(done=int(found[1]), total=int(found[2])) if found else progress
                if not self.begun:
                    yield progress
            elif not line and data:
                if frame := b"\n".join(data):
                    yield frame
                data, held = [], 0
            elif line and not framed and not FIELD.match(line):
                plain.append(line)
            elif not data and not plain:
                held = 0
        if plain and not framed:
            yield b"\n".join(plain)

    async def lines(self) -> AsyncIterator[bytes]:
        """Split at \\n alone: text may hold U+2028 or U+0085, at which `splitlines` would tear a frame."""
        rest, held = [b""], 0
        async for chunk in self.chunks():
            first, *more = chunk.split(b"\n")
            rest.append(first)
            held += len(first)
            if held > LONGEST_BYTES:
                raise self.endless()
            for each in more:
                yield b"".join(rest).rstrip(b"\r")
                rest, held = [each], len(each)
        if whole := b"".join(rest):
            yield whole.rstrip(b"\r")

    async def chunks(self) -> AsyncIterator[bytes]:
        limits, chunks = self.server.limits, self.response.content.iter_any()
        while True:
            limit = limits.idle_seconds if self.begun else limits.first_token_seconds
            try:
                async with asyncio.timeout(limit):
                    chunk = await anext(chunks)
            except StopAsyncIteration:
                return
            except TimeoutError as error:
                raise self.server.silent(limit) from error
            yield chunk

    def endless(self) -> Failure:
        message = f"{self.server.url} sent more than {LONGEST_BYTES >> 20} MiB without a frame's end."
        return Failure("upstream_error", message)
