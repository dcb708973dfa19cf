"""Sessions: made, listed, shown."""

from datetime import date
from typing import Annotated

from django.http import HttpRequest
from ninja import Query, Router
from ninja.responses import Status

from cli.daemon import hub, sessions
from cli.protocol.requests import SessionCreate, SessionDetail, SessionList, SessionView

router = Router()


@router.post("sessions", response={200: SessionView, 201: SessionView})
async def create_session(request: HttpRequest, body: SessionCreate) -> Status[SessionView]:
    view, created = await hub.of(request).database(sessions.create, body, date.today())
    return Status(201 if created else 200, view)


@router.get("sessions", response=SessionList)
async def list_sessions(
    request: HttpRequest, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> SessionList:
    return await hub.of(request).database(sessions.listed, limit)


@router.get("sessions/{id}", response=SessionDetail)
async def get_session(request: HttpRequest, id: str) -> SessionDetail:
    return await hub.of(request).database(sessions.detail, id)
