"""Server-sent events: one frame, and the response that carries a stream of them.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from collections.abc import AsyncIterator

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
