"""Sessions: made, listed, searched, shown, changed, forked, exported, deleted."""

from datetime import date
from typing import Annotated, Literal

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router
from ninja.responses import Status

from cli.daemon import export, hub, search, sessions
from cli.protocol.events import SessionUpdated
from cli.protocol.sessions import (
    SessionCreate,
    SessionDetail,
    SessionFork,
    SessionHits,
    SessionList,
    SessionPage,
    SessionSearch,
    SessionUpdate,
    SessionView,
)

router = Router()


@router.post("sessions", response={200: SessionView, 201: SessionView})
async def create_session(request: HttpRequest, body: SessionCreate) -> Status[SessionView]:
    view, created = await hub.of(request).database(sessions.create, body, date.today())
    return Status(201 if created else 200, view)


@router.get("sessions", response=SessionList)
async def list_sessions(request: HttpRequest, page: Annotated[SessionPage, Query()]) -> SessionList:
    return await hub.of(request).database(sessions.listed, page)


@router.get("sessions/search", response=SessionHits)
async def search_sessions(request: HttpRequest, asked: Annotated[SessionSearch, Query()]) -> SessionHits:
    return await hub.of(request).database(search.search, asked)


@router.get("sessions/{id}", response=SessionDetail)
async def get_session(request: HttpRequest, id: str) -> SessionDetail:
    return await hub.of(request).database(sessions.detail, id)


@router.patch("sessions/{id}", response=SessionView)
async def update_session(request: HttpRequest, id: str, body: SessionUpdate) -> SessionView:
    """Change the session, and tell everyone who follows it."""
    here = hub.of(request)
    told = SessionUpdated(**body.model_dump())
    await here.logs.of(id).append("", told, lambda _: sessions.change(id, told))
    return await here.database(sessions.shown, id)


@router.post("sessions/{id}/fork", response={200: SessionView, 201: SessionView})
async def fork_session(request: HttpRequest, id: str, body: SessionFork) -> Status[SessionView]:
    view, created = await hub.of(request).database(sessions.fork, id, body)
    return Status(201 if created else 200, view)


@router.delete("sessions/{id}", response={204: None})
async def delete_session(request: HttpRequest, id: str) -> Status[None]:
    """Take it away with all its rows; whoever follows it comes to the end."""
    here = hub.of(request)
    async with here.logs.of(id).lock:  # nothing of it becomes a row of the next session of its name
        jobs = await here.database(sessions.delete, id)
        here.logs.drop(id)
    await here.jobs.forget(jobs)
    await here.database.erase()
    return Status(204, None)


@router.get("sessions/{id}/export")
async def export_session(request: HttpRequest, id: str, format: Literal["md", "json"] = "md") -> HttpResponse:
    write, kind = export.FORMATS[format]
    answer = HttpResponse(await hub.of(request).database(write, id), content_type=kind)
    answer["Content-Disposition"] = f'attachment; filename="{id}.{format}"'
    return answer
