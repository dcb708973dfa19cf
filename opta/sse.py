"""Server-sent events: one frame, and the response that carries a stream of them.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from django.http import StreamingHttpResponse

PING = b": ping\n\n"


def frame(data: str, *, event: str = "", id: int | None = None) -> bytes:
    """One event; a line break in `data` becomes a second data line, as the protocol wants."""
    head = (f"event: {event}\n" if event else "") + (f"id: {id}\n" if id is not None else "")
    lines = "".join(f"data: {line}\n" for line in data.split("\n"))
    return f"{head}{lines}\n".encode()


def response(frames: AsyncIterator[bytes]) -> StreamingHttpResponse:
    """A response that sends each frame as it comes; closing the connection closes the iterator."""
    answer = StreamingHttpResponse(frames, content_type="text/event-stream")
    answer["Cache-Control"] = "no-store"
    answer["X-Accel-Buffering"] = "no"
    return answer


async def begun(frames: AsyncGenerator[bytes]) -> AsyncIterator[bytes]:
    """`frames`, which are closed now also if the client hangs up before anybody asks for the first."""
    return rest(await anext(frames), frames)


async def rest(first: bytes, frames: AsyncGenerator[bytes]) -> AsyncIterator[bytes]:
    async with aclosing(frames):
        yield first
        async for each in frames:
            yield each


async def pinged(frames: AsyncGenerator[bytes], seconds: float, ping: bytes = PING) -> AsyncGenerator[bytes]:
    """`frames`, and `ping` whenever none came for so long: silence is not a dead connection."""
    coming = asyncio.ensure_future(anext(frames, None))
    try:
        while True:
            done, _ = await asyncio.wait([coming], timeout=seconds)
            if not done:
                yield ping
            elif (sent := coming.result()) is None:
                return
            else:
                yield sent
                coming = asyncio.ensure_future(anext(frames, None))
    finally:
        coming.cancel()
        await asyncio.wait([coming])
        await frames.aclose()
