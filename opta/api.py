"""The one NinjaAPI factory: strict input, and every failure in the dialect of its border."""

import logging
from collections.abc import Callable
from typing import Any

from django.core.exceptions import SuspiciousOperation
from django.http import HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError

from opta.errors import Refusal
from opta.version import VERSION

log = logging.getLogger(__name__)

Dialect = Callable[[HttpRequest, Refusal], HttpResponse]


def make_api(title: str, dialect: Dialect, **options: Any) -> NinjaAPI:
    """A NinjaAPI that answers every failure by `dialect`; `options` are NinjaAPI's own."""
    api = NinjaAPI(title=title, version=VERSION, **options)

    @api.exception_handler(Refusal)
    def refused(request: HttpRequest, error: Refusal) -> HttpResponse:
        return dialect(request, error)

    @api.exception_handler(ValidationError)
    def invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
        return dialect(request, from_validation(error.errors))

    @api.exception_handler(HttpError)  # django-ninja's own: a body that is not JSON
    def unreadable(request: HttpRequest, error: HttpError) -> HttpResponse:
        message = f"The body is not JSON: {error.__cause__ or error}."
        return dialect(request, Refusal(message, field="body", status=error.status_code))

    @api.exception_handler(SuspiciousOperation)  # Django's own: a query of more than a thousand values
    def suspicious(request: HttpRequest, error: SuspiciousOperation) -> HttpResponse:
        return dialect(request, Refusal(f"{type(error).__name__}: {error}"))

    @api.exception_handler(Exception)  # the last line: whatever happens, the client gets its dialect
    def failed(request: HttpRequest, error: Exception) -> HttpResponse:
        log.exception("%s %s failed", request.method, request.path)
        message = f"{type(error).__name__} in the server; its log has the trace."
        return dialect(request, Refusal(message, status=500, code="internal_error"))

    return api


def from_validation(errors: list[dict[str, Any]]) -> Refusal:
    """Pydantic's error list as one refusal that names the first field, and every field in its message."""
    fields = [field(*error["loc"]) for error in errors]
    # What our own validators say is put behind pydantic's "Value error, ".
    said = [error["msg"].removeprefix("Value error, ") for error in errors]
    message = "; ".join(f"{name}: {text}" for name, text in zip(fields, said, strict=True))
    return Refusal(message, field=fields[0])


def field(where: str, *path: str | int) -> str:
    """The dotted path of what is wrong; in a body, ninja puts its own parameter's name first."""
    inside = path[1:] if where == "body" else path
    return ".".join(map(str, inside)) or where
