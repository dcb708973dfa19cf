"""Sessions as a client sees them: made, listed, and one with its history."""

import os
from datetime import date
from pathlib import Path

from django.db.models import Count, OuterRef, QuerySet, Subquery

from cli.agent import history, prompt
from cli.daemon.errors import UnknownSession
from cli.daemon.models import Event, Session, Turn, facts, new_id
from cli.protocol.requests import SessionCreate, SessionDetail, SessionList, SessionView
from opta.errors import Refusal


def create(request: SessionCreate, today: date) -> tuple[SessionView, bool]:
    """The new session, or the one that has this id already; and whether it is new."""
    cwd = request.cwd or str(Path.home())
    if not os.path.isdir(cwd):  # Path.is_dir raises for a name that is too long
        raise Refusal(f"cwd: {cwd} is not a folder on this machine.", field="cwd")
    session, created = Session.objects.get_or_create(
        id=request.id or new_id(),
        defaults={
            "title": request.title,
            "model": request.model,
            "cwd": cwd,
            "system": request.system or prompt.default(cwd, today),
        },
    )
    return view(found(session.id)), created


def listed(limit: int) -> SessionList:
    """The sessions used last."""
    return SessionList(sessions=[view(session) for session in counted().order_by("-updated")[:limit]])


def detail(id: str) -> SessionDetail:
    session = found(id)
    messages = history.messages(facts(id))
    return SessionDetail(**view(session).model_dump(), system=session.system, messages=messages)


def found(id: str) -> Session:
    """A session with its counts. Raises UnknownSession."""
    session = counted().filter(id=id).first()
    if session is None:
        raise UnknownSession(id)
    return session


def counted() -> QuerySet[Session]:
    """Sessions with what SessionView adds to the row: `turns`, the last event's `seq`, the `active` turn."""
    events = Event.objects.filter(session_id=OuterRef("id")).order_by("-seq")
    running = Turn.objects.filter(session_id=OuterRef("id"), state="running")
    return Session.objects.annotate(
        turns=Count("turn"),
        seq=Subquery(events.values("seq")[:1]),
        active=Subquery(running.values("id")[:1]),
    )


def view(session: Session) -> SessionView:
    values = vars(session)
    return SessionView(
        **{name: values[name] for name in SessionView.model_fields} | {"seq": values["seq"] or 0}
    )
