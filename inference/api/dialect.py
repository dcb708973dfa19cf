"""How LMX's HTTP answers look: refusals in the dialect of their path, and JSON encoded by msgspec."""

import msgspec
from django.http import HttpRequest, HttpResponse

from inference.errors import told
from opta.errors import Refusal

encode = msgspec.json.Encoder().encode


def answer(value: object, status: int = 200) -> HttpResponse:
    return HttpResponse(encode(value), status=status, content_type="application/json")


def answer_error(request: HttpRequest, error: Refusal) -> HttpResponse:
    refused = answer(told(request.path, error), error.status)
    if error.retry_after is not None:
        refused["Retry-After"] = str(error.retry_after)
    return refused


def event(value: object) -> bytes:
    """One server-sent event; JSON has no line break to take care of."""
    return b"data: " + encode(value) + b"\n\n"
