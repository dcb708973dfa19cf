"""How the daemon answers: JSON as pydantic writes it, and every failure in the dialect of its path."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.decorators import async_only_middleware
from ninja.renderers import BaseRenderer
from pydantic_core import to_json

from cli.daemon.errors import document
from opta.errors import Refusal


def answer_problem(request: HttpRequest, refusal: Refusal) -> HttpResponse:
    kind, body = document(refusal, request.path)
    answer = HttpResponse(body, status=refusal.status, content_type=kind)
    if refusal.retry_after is not None:
        answer["Retry-After"] = str(refusal.retry_after)
    return answer


@async_only_middleware
def say_not_allowed(get_response: Callable[[HttpRequest], Awaitable[HttpResponse]]) -> Any:
    """ninja answers a wrong method in plain text; here it is a problem like any other."""

    async def middleware(request: HttpRequest) -> HttpResponse:
        response = await get_response(request)
        if response.status_code != HTTPStatus.METHOD_NOT_ALLOWED:
            return response
        message = f"{request.path} takes {response['Allow']}, not {request.method}."
        answer = answer_problem(request, Refusal(message, status=405, code="method_not_allowed"))
        answer["Allow"] = response["Allow"]
        return answer

    return middleware


class Renderer(BaseRenderer):
    """JSON as pydantic writes it: an event in a page is the event of the stream, to the microsecond."""

    media_type = "application/json"

    def render(self, request: HttpRequest, data: Any, *, response_status: int) -> bytes:
        return to_json(data)
