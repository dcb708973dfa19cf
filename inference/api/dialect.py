"""How LMX's HTTP answers look: refusals in the dialect of their path, and JSON encoded by msgspec."""

from datetime import UTC, datetime

import msgspec
from django.http import HttpRequest, HttpResponse

from inference.errors import told
from opta.errors import Refusal

encode = msgspec.json.Encoder().encode


def answer(value: object, status: int = 200) -> HttpResponse:
    body = encode(value)
    length = {"Content-Length": str(len(body))}
    return HttpResponse(body, status=status, content_type="application/json", headers=length)


def answer_error(request: HttpRequest, error: Refusal) -> HttpResponse:
    refused = answer(told(request.path, error), error.status)
    if error.retry_after is not None:
        refused["Retry-After"] = str(error.retry_after)
    return refused


def event(value: object) -> bytes:
    """One server-sent event; JSON has no line break to take care of."""
    return b"data: " + encode(value) + b"\n\n"


def moment(seconds: float) -> str:
    """A time since the epoch by RFC 3339."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
