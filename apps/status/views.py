"""The status site: the page, its stream, and the same facts for machines."""

from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import cache_control, never_cache
from django.views.decorators.http import require_safe

from apps.status import live
from apps.status.probes import State
from apps.status.summary import Summary, read
from opta import sse

READER = live.Reader()


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    return render(request, "status/index.html", {"board": live.board()})


@require_safe
async def stream(request: HttpRequest) -> StreamingHttpResponse:
    """Server-sent events; `seen` or Last-Event-ID is the version of the board that the client shows."""
    seen = request.headers.get("Last-Event-ID") or request.GET.get("seen", "")
    return sse.response(live.frames(READER, seen))


@require_safe
@cache_control(public=True, max_age=5)
def summary(request: HttpRequest) -> HttpResponse:
    return HttpResponse(read(timezone.now()).model_dump_json(), content_type="application/json")


@require_safe
def schema(request: HttpRequest) -> JsonResponse:
    return JsonResponse(Summary.model_json_schema(mode="serialization"))


@require_safe
@never_cache
def polled(request: HttpRequest) -> JsonResponse:
    """Whether the worker polls: 200, or 503 when its last check is stale."""
    found = read(timezone.now())
    polls = any(service.state != State.UNKNOWN for service in found.services)
    body = {"status": "ok" if polls else "failing", "checked_at": found.checked_at}
    return JsonResponse(body, status=200 if polls else 503)
