"""The events of a session, as pages and as a stream."""

from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Annotated

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from ninja import Query, Router

from cli.daemon import hub
from cli.daemon.lifetime import Lifetime, farewell
from cli.daemon.log import Log
from cli.daemon.models import Told
from cli.protocol import events
from cli.protocol.requests import EventList
from opta import sse
from opta.errors import Refusal

After = Annotated[int, Query(ge=0)]
PING_SECONDS = 15.0

router = Router()


@router.get("sessions/{id}/events", response=EventList)
async def list_events(
    request: HttpRequest, id: str, after: After = 0, limit: Annotated[int, Query(ge=1, le=100_000)] = 10_000
) -> HttpResponse:
    """The events there are by now, text that is not stored yet included."""
    log = hub.of(request).logs.of(id)
    await log.load()  # raises for an unknown session
    log.check(after)
    found: list[Told] = []
    while len(found) < limit and (more := await log.newer(found[-1].seq if found else after)):
        found += more
    told = ",".join(event.as_json for event in found[:limit])  # an EventList, written already
    return HttpResponse(f'{{"events":[{told}]}}', content_type="application/json")


@router.get("sessions/{id}/stream")
async def stream_events(request: HttpRequest, id: str, after: After = 0) -> StreamingHttpResponse:
    """Every event above `after` (or Last-Event-ID, when a client resumes), and each new one as it comes."""
    log = hub.of(request).logs.of(id)
    seen = last_event_id(request)
    start = after if seen is None else seen
    await log.load()  # raises for an unknown session, while there is still a status to say it with
    log.check(start)
    if log.stuck:
        raise log.stuck
    return sse.response(sse.pinged(frames(log, start, hub.of(request).lifetime), PING_SECONDS))


async def frames(log: Log, after: int, lifetime: Lifetime) -> AsyncGenerator[bytes]:
    with suppress(Refusal):  # the stream just ends: who asks again is told, with a status
        async for batch in log.batches(after):
            yield b"".join(sse.frame(event.as_json, id=event.seq) for event in batch)
            after = batch[-1].seq
    if log.closed and lifetime.replaced:
        end = farewell(log.session, after)
        yield sse.frame(end.model_dump_json(), event=end.type)


def last_event_id(request: HttpRequest) -> int | None:
    value = request.headers.get("Last-Event-ID", "")
    if value and not events.SEQ.fullmatch(value):
        raise Refusal(f"Last-Event-ID: {value[:40]!r} is no event's number.", field="Last-Event-ID")
    return int(value) if value else None
