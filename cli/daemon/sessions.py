"""Sessions as a client sees them: made, listed, changed, forked, deleted."""

import os
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.expressions import RawSQL

from cli.agent import history, instructions, prompt
from cli.daemon.errors import Conflict, UnknownSession
from cli.daemon.models import Job, Session, Turn, fact_rows, facts, new_id, store
from cli.protocol.events import SessionUpdated
from cli.protocol.permissions import Rules
from cli.protocol.sessions import (
    Origin,
    SessionCreate,
    SessionDetail,
    SessionFilter,
    SessionFork,
    SessionList,
    SessionPage,
    SessionView,
)
from cli.trust import trusted
from opta.errors import Refusal

# What a list reads of a session's row: all but its long texts.
COLUMNS = [*(name for name in SessionView.model_fields if name != "active"), "origin_turn"]
# Filters that a column answers by itself.
EXACT = ("project", "cwd", "model", "mode")
ARCHIVED = {"false": {"archived": False}, "true": {"archived": True}, "any": {}}
WAITING = ("queued", "running")
EPOCH = datetime.fromtimestamp(0, UTC)
MICROSECOND = timedelta(microseconds=1)


@transaction.atomic
def create(request: SessionCreate, today: date) -> tuple[SessionView, bool]:
    """The new session, or the one that has this id already; and whether it is new. Raises Conflict."""
    id = request.id or new_id()
    if there := Session.objects.filter(id=id).first():
        if not agrees(there, request):
            raise Conflict(f"There is a session {id!r}, and it was made otherwise.", field="id")
        return shown(id), False
    cwd = request.cwd or str(Path.home())
    if not os.path.isdir(cwd):  # Path.is_dir raises for a name that is too long
        raise Refusal(f"cwd: {cwd} is not a folder on this machine.", field="cwd")
    system = request.system or prompt.default(cwd, today)
    session = Session(id=id, cwd=cwd, project=project(cwd), system=system)
    session.model, session.mode, session.tools = request.model, request.mode, request.tools
    session.tags = request.tags
    given = (instructions.read(Path(cwd), trusted), request.instructions)
    session.instructions = "\n\n".join(filter(None, given))
    if session.instructions:
        session.system = f"{system}\n\n{session.instructions}"
    session.save(force_insert=True)
    session.rename(request.title)
    return shown(id), True


def agrees(session: Session, request: SessionCreate) -> bool:
    """Whether what a session has for its life is what the request says, where that says anything."""
    return (
        request.cwd in (None, session.cwd)
        and request.tools in (None, session.tools)
        and session.system.startswith(request.system)
        and session.instructions.endswith(request.instructions)
    )


def listed(page: SessionPage) -> SessionList:
    """The sessions used last, of those that are asked for."""
    rows = list(older(page).order_by("-updated", "-id").values(*COLUMNS)[: page.limit])
    active = running()
    last = rows[-1] if len(rows) == page.limit else None
    return SessionList(
        sessions=[view(row, active.get(row["id"])) for row in rows],
        next=f"{(last['updated'] - EPOCH) // MICROSECOND}-{last['id']}" if last else None,
    )


def chosen(filter: SessionFilter) -> QuerySet[Session]:
    """The sessions that are asked for."""
    exact = {name: value for name in EXACT if (value := getattr(filter, name)) is not None}
    found = Session.objects.filter(**exact, **ARCHIVED[filter.archived])
    if filter.id:  # `~` sorts behind all that an id is made of
        found = found.filter(id__gte=filter.id, id__lt=filter.id + "~")
    if filter.tag:
        tagged = RawSQL("SELECT 1 FROM json_each(tags) WHERE value = %s LIMIT 1", [filter.tag])
        found = found.alias(tagged=tagged).filter(tagged=1)
    return found


def older(page: SessionPage) -> QuerySet[Session]:
    """The sessions that come after the page before."""
    if page.before is None:
        return chosen(page)
    stamp, _, id = page.before.partition("-")
    then = EPOCH + int(stamp) * MICROSECOND
    return chosen(page).filter(Q(updated__lt=then) | Q(updated=then, id__lt=id))


def shown(id: str) -> SessionView:
    """A session as a list shows it. Raises UnknownSession."""
    seen = views([id])
    if id not in seen:
        raise UnknownSession(id)
    return seen[id]


def detail(id: str) -> SessionDetail:
    """A session with its history. Raises UnknownSession."""
    session, seen = found(id), shown(id)
    return SessionDetail(
        **dict(seen),
        tools=session.tools,
        rules=Rules.model_validate(session.rules),
        system=session.system,
        instructions=session.instructions,
        messages=history.messages(facts(id)),
    )


def found(id: str) -> Session:
    """A session's row. Raises UnknownSession."""
    session = Session.objects.filter(id=id).first()
    if session is None:
        raise UnknownSession(id)
    return session


def views(ids: Iterable[str]) -> dict[str, SessionView]:
    """Those of the sessions that there are."""
    active = running()
    rows = Session.objects.filter(id__in=list(ids)).values(*COLUMNS)
    return {row["id"]: view(row, active.get(row["id"])) for row in rows}


def running() -> dict[str, str]:
    """The turn that runs in each session where one does."""
    return dict(Turn.objects.filter(state="running").values_list("session_id", "id"))


def view(row: Mapping[str, Any], active: str | None) -> SessionView:
    origin = Origin(session=row["origin"], turn=row["origin_turn"]) if row["origin"] else None
    return SessionView(**{**row, "origin": origin, "active": active})


def change(id: str, body: SessionUpdated) -> None:
    """Do to the row what the event says, in the transaction that stores it."""
    values = body.model_dump(exclude_none=True, exclude={"type", "title"})
    if values:
        Session.objects.filter(id=id).update(**values)
    if body.title is not None:
        found(id).rename(body.title)


@transaction.atomic
def fork(id: str, request: SessionFork) -> tuple[SessionView, bool]:
    """A session that goes on from a turn of this one; and whether it is new.

    Its events keep their numbers: what they say of one another stays true, and its log goes on after them.
    """
    source, new = found(id), request.id or new_id()
    if there := Session.objects.filter(id=new).first():
        if there.origin != id or request.turn not in (None, there.origin_turn):
            raise Conflict(f"There is a session {new!r}, and it is not this fork of {id!r}.", field="id")
        return shown(new), False
    turns = shared(id, request.turn)
    rows = fact_rows(id).filter(turn__in=[turn.id for turn in turns])
    copied = [row.parse() for row in rows]
    fresh = copy_of(source, new, turns)
    for turn in turns:
        turn.session = fresh
        turn.save(force_insert=True)
    store(new, copied, copied[-1].seq if copied else 0)
    fresh.rename(source.title if request.title is None else request.title)
    return shown(new), True


def shared(id: str, last: str | None) -> list[Turn]:
    """The turns of a session up to `last`, or up to the first that has not ended yet."""
    turns = list(Turn.objects.filter(session_id=id).order_by("seq"))
    names = [turn.id for turn in turns]
    if last is not None and last not in names:
        raise Refusal(
            f"The session {id!r} has no turn {last!r}.", status=404, code="unknown_turn", field="turn"
        )
    ended = next((place for place, turn in enumerate(turns) if turn.state in WAITING), len(turns))
    wanted = ended if last is None else names.index(last) + 1
    if wanted > ended:
        raise Conflict(
            f"The turn {names[ended]!r} has not ended yet. Cancel it or wait for it.", field="turn"
        )
    return turns[:wanted]


def copy_of(source: Session, id: str, turns: list[Turn]) -> Session:
    """A session with all that was chosen for `source`, and without its name, marks and past."""
    fresh = Session.objects.get(id=source.id)
    now = datetime.now(UTC)
    fresh.id, fresh.title, fresh.archived = id, "", False
    fresh.created, fresh.updated = now, now
    fresh.reserved, fresh.seq, fresh.turns = 0, 0, len(turns)
    fresh.origin, fresh.origin_turn = source.id, turns[-1].id if turns else ""
    fresh.save(force_insert=True)
    return fresh


@transaction.atomic
def delete(id: str) -> list[Job]:
    """Take a session and all its rows away; gives the jobs that it had, which may run still.

    Raises Conflict while one of its turns is under way.
    """
    found(id)
    turn = Turn.objects.filter(session_id=id, state__in=WAITING).order_by("seq").first()
    if turn:
        raise Conflict(f"The turn {turn.id!r} is {turn.state}. Cancel it, or wait for it, and delete then.")
    jobs = list(Job.objects.filter(session_id=id))
    Session.objects.filter(id=id).delete()
    return jobs


def project(cwd: str) -> str:
    """The root of the repository that `cwd` is in, or `cwd`: what belongs together in a list."""
    folders = [Path(cwd), *Path(cwd).parents]
    return str(next((folder for folder in folders if os.path.exists(folder / ".git")), cwd))
