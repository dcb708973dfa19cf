"""Sessions, their turns and their events: what a killed daemon finds again."""

from collections.abc import Iterable
from uuid import uuid4

from django.db import models
from django.utils import timezone

from cli.protocol import events
from cli.protocol.requests import TurnState, TurnView


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
    # Fixed for the session's life: a server keeps the prefix of a prompt that does not change.
    system = models.TextField()
    created = models.DateTimeField(default=timezone.now)
    updated = models.DateTimeField(default=timezone.now, db_index=True)
    # No event above this number was ever shown, so a daemon that starts goes on after it.
    reserved = models.BigIntegerField(default=0)


class Turn(models.Model):
    pk = models.CompositePrimaryKey("session_id", "id")
    session = models.ForeignKey(Session, models.CASCADE)
    id = models.CharField(max_length=64)
    text = models.TextField()
    model = models.CharField(max_length=200)
    state = models.CharField(max_length=16, default="queued", db_index=True)
    # Its turn.queued event; the order of the queue.
    seq = models.BigIntegerField()
    created = models.DateTimeField()

    def enqueue(self, event: events.Event) -> None:
        """Become a row, together with its turn.queued event. Raises Taken."""
        if Turn.objects.filter(pk=self.pk).exists():
            raise Taken(self.id)
        self.model = self.model or self.session.model
        self.seq, self.created = event.seq, event.time
        self.save(force_insert=True)
        if not self.session.title:
            Session.objects.filter(id=self.session_id).update(title=self.text.split("\n")[0].strip()[:60])

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


def store(session: str, batch: Iterable[events.Event], reserved: int) -> None:
    """Write events, and up to which number they may go on; inside the caller's transaction."""
    Event.objects.bulk_create(
        Event(session_id=session, seq=e.seq, turn=e.turn, type=e.event.type, data=e.model_dump_json())
        for e in batch
    )
    Session.objects.filter(id=session).update(reserved=reserved, updated=timezone.now())


def newer(session: str, after: int, last: int, limit: int) -> list[events.Event]:
    """The first `limit` events above `after`, and up to `last`."""
    rows = Event.objects.filter(session_id=session, seq__gt=after, seq__lte=last).order_by("seq")
    return [row.parse() for row in rows[:limit]]


def facts(session: str) -> list[events.Event]:
    """All that history is made of."""
    rows = Event.objects.filter(session_id=session).exclude(type="text.delta").order_by("seq")
    return [row.parse() for row in rows]
