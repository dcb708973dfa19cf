"""HTTP v3: sessions, their turns, and their events as pages and as a stream."""

import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from datetime import date
from http import HTTPStatus
from time import monotonic
from typing import Annotated, Any

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils.decorators import async_only_middleware
from ninja import Query
from ninja.renderers import BaseRenderer
from ninja.responses import Status
from pydantic_core import to_json

from cli.daemon import hub, sessions
from cli.daemon.errors import problem
from cli.daemon.log import Log
from cli.protocol import events
from cli.protocol.requests import (
    EventList,
    Health,
    SessionCreate,
    SessionDetail,
    SessionList,
    SessionView,
    TurnCancel,
    TurnsCancelled,
    TurnSubmit,
    TurnView,
)
from opta import sse
from opta.api import make_api
from opta.errors import Refusal
from opta.version import VERSION

After = Annotated[int, Query(ge=0)]
PING_SECONDS = 15.0


def answer_problem(request: HttpRequest, refusal: Refusal) -> HttpResponse:
    return HttpResponse(problem(refusal), status=refusal.status, content_type="application/problem+json")


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


api = make_api("Opta daemon", answer_problem, openapi_url="openapi.json", docs_url=None, renderer=Renderer())


@api.get("health", response=Health)
async def health(request: HttpRequest) -> Health:
    here = hub.of(request)
    return Health(
        service="opta-daemon",
        status="ok",
        version=VERSION,
        protocol=events.VERSION,
        pid=os.getpid(),
        uptime_seconds=round(monotonic() - here.started, 3),
        active_turns=len(here.turns.running),
    )


@api.get("schema")
async def schema(request: HttpRequest) -> dict[str, Any]:
    """JSON Schema of every event."""
    return events.schema()


@api.post("sessions", response={200: SessionView, 201: SessionView})
async def create_session(request: HttpRequest, body: SessionCreate) -> Status[SessionView]:
    view, created = await hub.of(request).database(sessions.create, body, date.today())
    return Status(201 if created else 200, view)


@api.get("sessions", response=SessionList)
async def list_sessions(
    request: HttpRequest, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> SessionList:
    return await hub.of(request).database(sessions.listed, limit)


@api.get("sessions/{id}", response=SessionDetail)
async def get_session(request: HttpRequest, id: str) -> SessionDetail:
    return await hub.of(request).database(sessions.detail, id)


@api.post("sessions/{id}/turns", response={202: TurnView})
async def submit_turn(request: HttpRequest, id: str, body: TurnSubmit) -> Status[TurnView]:
    return Status(202, await hub.of(request).turns.submit(id, body))


@api.post("sessions/{id}/cancel", response=TurnsCancelled)
async def cancel_turns(request: HttpRequest, id: str, body: TurnCancel) -> TurnsCancelled:
    here = hub.of(request)
    await here.logs.of(id).load()  # raises for an unknown session
    return TurnsCancelled(turns=await here.turns.cancel(id, body.turn))


@api.get("sessions/{id}/events", response=EventList)
async def list_events(
    request: HttpRequest, id: str, after: After = 0, limit: Annotated[int, Query(ge=1, le=100_000)] = 10_000
) -> EventList:
    """The events there are by now, text that is not stored yet included."""
    log = hub.of(request).logs.of(id)
    found: list[events.Event] = []
    while len(found) < limit and (more := await log.newer(found[-1].seq if found else after)):
        found += more
    return EventList(events=found[:limit])


@api.get("sessions/{id}/stream")
async def stream_events(request: HttpRequest, id: str, after: After = 0) -> StreamingHttpResponse:
    """Every event above `after` (or Last-Event-ID, when a client resumes), and each new one as it comes."""
    log = hub.of(request).logs.of(id)
    start = last_event_id(request) or after
    await log.load()  # raises for an unknown session, while there is still a status to say it with
    if log.stuck:
        raise log.stuck
    return sse.response(sse.pinged(frames(log, start), PING_SECONDS))


async def frames(log: Log, after: int) -> AsyncGenerator[bytes]:
    with suppress(Refusal):  # the stream just ends: who asks again is told, with a status
        async for event in log.follow(after):
            yield sse.frame(event.model_dump_json(), id=event.seq)


def last_event_id(request: HttpRequest) -> int | None:
    value = request.headers.get("Last-Event-ID", "")
    if value and not events.SEQ.fullmatch(value):
        raise Refusal(f"Last-Event-ID: {value[:40]!r} is no event's number.", field="Last-Event-ID")
    return int(value) if value else None
