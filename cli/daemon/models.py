"""Sessions, their turns and their events: what a killed daemon finds again."""

from collections.abc import Iterable
from signal import Signals
from uuid import uuid4

from django.db import models
from django.utils import timezone

from cli.daemon.errors import UnknownSession
from cli.protocol import events
from cli.protocol.jobs import JobView
from cli.protocol.requests import TurnState, TurnView

# Events whose text is a message: what search looks through, together with the titles.
MESSAGES = (events.TurnQueued, events.TurnSteered, events.TextDone)
DELTAS = [each.model_fields["type"].default for each in events.DELTAS]


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

    def enqueue(self, event: events.Event) -> None:
        """Become a row, together with its turn.queued event. Raises Taken or UnknownSession."""
        if Turn.objects.filter(pk=self.pk).exists():
            raise Taken(self.id)
        session = Session.objects.filter(id=self.session_id).first()
        if session is None:  # deleted since its log was read
            raise UnknownSession(self.session_id)
        self.model = self.model or session.model
        self.seq, self.created = event.seq, event.time
        self.save(force_insert=True)
        Session.objects.filter(id=session.id).update(turns=models.F("turns") + 1)
        if not session.title:
            session.rename(self.text.strip().split("\n")[0].strip()[:60])

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
    rows, changed = list(batch), {"reserved": reserved}
    if rows:
        changed["seq"] = rows[-1].seq
    used = {"updated": timezone.now()} if any(event.turn for event in rows) else {}
    if not Session.objects.filter(id=session).update(**changed, **used):
        raise UnknownSession(session)
    Event.objects.bulk_create(
        Event(session_id=session, seq=e.seq, turn=e.turn, type=e.event.type, data=e.as_json) for e in rows
    )
    Passage.objects.bulk_create(
        Passage(session_id=session, seq=e.seq, turn=e.turn, text=e.event.text)
        for e in rows
        if isinstance(e.event, MESSAGES)
    )


def newer(session: str, after: int, last: int, limit: int) -> list[events.Event]:
    """The first `limit` events above `after`, and up to `last`."""
    rows = Event.objects.filter(session_id=session, seq__gt=after, seq__lte=last).order_by("seq")
    return [row.parse() for row in rows[:limit]]


def facts(session: str) -> list[events.Event]:
    """All that history is made of."""
    return [row.parse() for row in fact_rows(session)]


def fact_rows(session: str) -> models.QuerySet[Event]:
    return Event.objects.filter(session_id=session).exclude(type__in=DELTAS).order_by("seq")
