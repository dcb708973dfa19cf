"""Sessions, their turns and their events: what a killed daemon finds again."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cached_property
from signal import Signals
from typing import Any, cast
from uuid import uuid4

from django.db import connection, models
from django.utils import timezone

from cli.daemon.errors import UnknownSession, UnknownTurn
from cli.protocol import events
from cli.protocol.jobs import JobView
from cli.protocol.requests import TurnState, TurnView

# Events whose text is a message: what search looks through, together with the titles.
MESSAGES = (events.TurnQueued, events.TurnSteered, events.TextDone)
DELTAS = [each.model_fields["type"].default for each in events.DELTAS]

# What stands between a user's message and the model is written without the ORM, in a tenth of its time.
INSERT_TURN = """
    INSERT INTO daemon_turn (session_id, id, text, model, interactive, state, seq, created)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
COUNT_TURN = "UPDATE daemon_session SET turns = turns + 1, title = ? WHERE id = ?"
UPDATE_SESSION = """
    UPDATE daemon_session SET reserved = ?, seq = coalesce(?, seq), updated = coalesce(?, updated)
    WHERE id = ?
"""
INSERT_EVENT = "INSERT INTO daemon_event (session_id, seq, turn, type, data) VALUES (?, ?, ?, ?, ?)"
SELECT_FACTS = f"""
    SELECT data FROM daemon_event
    WHERE session_id = %s AND type NOT IN ({", ".join(["%s"] * len(DELTAS))}) ORDER BY seq
"""  # noqa: S608  # as many places as there are names
SELECT_NEWER = """
    SELECT seq, turn, data FROM daemon_event
    WHERE session_id = %s AND seq > %s AND seq <= %s ORDER BY seq LIMIT %s
"""
INSERT_PASSAGE = "INSERT INTO daemon_passage (session_id, seq, turn, text) VALUES (?, ?, ?, ?)"


class Lost(Exception):
    """Compare-and-set failed: the turn was in none of the states it should leave."""


class Taken(Exception):
    """The session has a turn of this id."""


def new_id() -> str:
    return uuid4().hex


class Session(models.Model):
    id = models.CharField(primary_key=True, max_length=64)
    title = models.CharField(max_length=200, blank=True)
    model = models.CharField(max_length=200)
    cwd = models.CharField(max_length=4096)
    # The repository's root, or `cwd` where there is none.
    project = models.CharField(max_length=4096, default="")
    mode = models.CharField(max_length=16, default="chat")
    # Names of the tools it may use; None is all of them.
    tools = models.JSONField(null=True)
    tags = models.JSONField(default=list)
    archived = models.BooleanField(default=False)
    # The session this one was forked from, and the last turn they share; it may be gone since.
    origin = models.CharField(max_length=64, default="")
    origin_turn = models.CharField(max_length=64, default="")
    # Fixed for the session's life: a server keeps the prefix of a prompt that does not change.
    system = models.TextField()
    created = models.DateTimeField(default=timezone.now)
    updated = models.DateTimeField(default=timezone.now, db_index=True)
    # No event above this number was ever shown, so a daemon that starts goes on after it.
    reserved = models.BigIntegerField(default=0)
    # Of its turns how many, of its events the last: a list of sessions reads no other table's rows.
    turns = models.IntegerField(default=0)
    seq = models.BigIntegerField(default=0)
    # The tools as the first turn told the model of them, and every later one does; null before.
    catalog = models.JSONField(null=True)
    # What the user wants of this session beyond the system prompt, which has them at its end.
    instructions = models.TextField(default="")
    # Its permission rules, as cli/protocol/permissions.py has them.
    rules = models.JSONField(default=dict)

    def rename(self, title: str) -> None:
        """Take a title, and let search find the session by it."""
        self.title = title
        self.save(update_fields=["title"])
        self.passage_set.filter(seq=0).delete()
        if title:
            self.passage_set.create(seq=0, text=title)


class Turn(models.Model):
    pk = models.CompositePrimaryKey("session_id", "id")
    session = models.ForeignKey(Session, models.CASCADE)
    id = models.CharField(max_length=64)
    text = models.TextField()
    model = models.CharField(max_length=200)
    state = models.CharField(max_length=16, default="queued", db_index=True)
    # Whether a client is there to answer permission requests.
    interactive = models.BooleanField(default=False, db_default=False)
    # Its turn.queued event; the order of the queue.
    seq = models.BigIntegerField()
    created = models.DateTimeField()

    def enqueue(self, state: TurnState, queued: events.Event, *_: events.Event) -> None:
        """Become a row, together with its turn.queued event. Raises UnknownSession."""
        self.state, self.seq, self.created = state, queued.seq, queued.time
        title = self.session.title or self.text.strip().split("\n")[0].strip()[:60]
        if not write(COUNT_TURN, [title, self.session_id]):
            raise UnknownSession(self.session_id)  # deleted since it was read
        given = self.session_id, self.id, self.text, self.model, self.interactive
        write(INSERT_TURN, [*given, state, self.seq, stamp(self.created)])
        if title != self.session.title:
            write(INSERT_PASSAGE, [self.session_id, 0, "", title])
            self.session.title = title

    @classmethod
    def of(cls, session: str, id: str) -> "Turn":
        """A session's turn. Raises UnknownTurn."""
        found = cls.objects.filter(session_id=session, id=id).first()
        if found is None:
            raise UnknownTurn(id)
        return found

    def move(self, new: TurnState, *old: TurnState) -> None:
        """Go to a state from one of these. Raises Lost when it is in none of them, or no longer."""
        if Turn.objects.filter(pk=self.pk, state__in=old).update(state=new) != 1:
            raise Lost(f"turn {self.id} is not {' or '.join(old)}")
        self.state = new

    def view(self) -> TurnView:
        return TurnView.model_validate(
            {
                "id": self.id,
                "state": self.state,
                "text": self.text,
                "seq": self.seq - 1,
                "created": self.created,
            }
        )


class Event(models.Model):
    """`data` is the event as it was sent: a replay sends the same bytes."""

    pk = models.CompositePrimaryKey("session_id", "seq")
    session = models.ForeignKey(Session, models.CASCADE, db_index=False)
    seq = models.BigIntegerField()
    turn = models.CharField(max_length=64)
    type = models.CharField(max_length=32)
    data = models.TextField()

    def parse(self) -> events.Event:
        return events.Event.model_validate_json(self.data)


class Job(models.Model):
    """A background job. `pid` and `born` name its process for good; see cli/daemon/jobs.py."""

    id = models.CharField(primary_key=True, max_length=64)
    session = models.ForeignKey(Session, models.CASCADE)
    label = models.CharField(max_length=200, blank=True)
    command = models.JSONField()
    cwd = models.CharField(max_length=4096)
    # The process group's number as well.
    pid = models.IntegerField()
    born = models.CharField(max_length=100)
    status = models.CharField(max_length=16, default="running", db_index=True)
    # The exit status, negative for the signal that ended it.
    code = models.IntegerField(null=True)
    created = models.DateTimeField()
    ended = models.DateTimeField(null=True)

    def view(self) -> JobView:
        values = {name: getattr(self, name) for name in ("id", "label", "command", "cwd", "pid", "status")}
        by_signal = self.code is not None and self.code < 0
        return JobView(
            **values,
            session=self.session_id,
            code=None if by_signal else self.code,
            signal=Signals(-self.code).name if self.code is not None and by_signal else None,
            created=self.created,
            ended=self.ended,
        )


class Passage(models.Model):
    """What search looks through: a title (`seq` 0) or a message. A row is made and deleted, never changed.

    SQLite's triggers keep the index of its words in step; whoever alters this table makes them anew.
    """

    session = models.ForeignKey(Session, models.CASCADE)
    seq = models.BigIntegerField()
    turn = models.CharField(max_length=64, default="")
    text = models.TextField()


def store(session: str, batch: Iterable[events.Event], reserved: int) -> None:
    """Write events, and up to which number they may go on; inside the caller's transaction.

    Raises UnknownSession when the session was deleted.
    """
    rows = list(batch)
    last = rows[-1].seq if rows else None
    used = stamp(timezone.now()) if any(event.turn for event in rows) else None
    if not write(UPDATE_SESSION, [reserved, last, used, session]):
        raise UnknownSession(session)
    write(INSERT_EVENT, *((session, e.seq, e.turn, e.event.type, e.as_json) for e in rows))
    said = ((e, e.event.text) for e in rows if isinstance(e.event, MESSAGES))
    write(INSERT_PASSAGE, *((session, e.seq, e.turn, text) for e, text in said))


def write(sql: str, *rows: Sequence[Any]) -> int:
    """Execute a statement for each of these; how many rows it touched."""
    if not rows:
        return 0
    with connection.wrap_database_errors:
        return int(connection.connection.executemany(sql, rows).rowcount)


def stamp(time: datetime) -> str:
    """A time as the rows have it."""
    return cast(str, connection.ops.adapt_datetimefield_value(time))


class Stored:
    """An event as its row has it: sent as it lies, and parsed only for who reads what it says."""

    def __init__(self, seq: int, turn: str, as_json: str) -> None:
        self.seq = seq
        self.turn = turn
        self.as_json = as_json

    @cached_property
    def event(self) -> events.AnyBody:
        return events.Event.model_validate_json(self.as_json).event


# What a follower is told: an event of a moment ago, or one that was read from its row.
Told = events.Event | Stored


def newer(session: str, after: int, last: int, limit: int) -> list[Stored]:
    """The first `limit` events above `after`, and up to `last`."""
    with connection.cursor() as cursor:
        cursor.execute(SELECT_NEWER, [session, after, last, limit])
        return [Stored(*row) for row in cursor.fetchall()]


def facts(session: str) -> list[events.Event]:
    """All that history is made of."""
    with connection.cursor() as cursor:
        cursor.execute(SELECT_FACTS, [session, *DELTAS])
        return [events.Event.model_validate_json(data) for (data,) in cursor.fetchall()]


def fact_rows(session: str) -> models.QuerySet[Event]:
    return Event.objects.filter(session_id=session).exclude(type__in=DELTAS).order_by("seq")
