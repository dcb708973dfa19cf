"""What a daemon does first: end the turns that a killed one was at, so that every history is valid.

Those that waited wait on: `Turns.resume` runs them.
"""

from datetime import UTC, datetime

from django.db import transaction
from django.db.models import QuerySet

from cli.agent import history
from cli.daemon.models import Event, Turn, store
from cli.protocol import events
from cli.protocol.failures import Failure

CRASHED = Failure("daemon_crashed", "The daemon died while this turn was under way.").event()

PIECES = (events.TextDelta, events.ReasoningDelta)
DELTAS = [delta.model_fields["type"].default for delta in events.DELTAS]


def settle() -> int:
    """Fail every turn that is running; nothing else may run yet. Returns how many there were."""
    orphans = Turn.objects.select_related("session").filter(state="running")
    ended = 0
    for turn in orphans.order_by("session_id", "seq"):
        end(turn)
        ended += 1
    return ended


@transaction.atomic
def end(turn: Turn) -> None:
    bodies = [*unfinished(turn), CRASHED]
    now, after = datetime.now(UTC), turn.session.reserved
    batch = [
        events.Event(seq=after + place, turn=turn.id, time=now, event=body)
        for place, body in enumerate(bodies, 1)
    ]
    turn.move("failed", "running")
    store(turn.session_id, batch, batch[-1].seq)


def unfinished(turn: Turn) -> list[events.AnyBody]:
    """What a turn that was cut off leaves open: its last text as a whole, and a result for each call."""
    said = history.Said()
    for row in rows(turn).exclude(type__in=DELTAS):
        said.add(row.parse())
    thought, text = rest(turn, "reasoning"), rest(turn, "text")
    return [
        *([events.ReasoningDone(text=thought)] if thought else []),
        *([events.TextDone(text=text)] if text else []),
        *said.interrupted(),
    ]


def rest(turn: Turn, kind: str) -> str:
    """What was stored in pieces since the last whole text or reasoning."""
    last = rows(turn).filter(type=f"{kind}.done").values_list("seq", flat=True).last()
    pieces = rows(turn).filter(type=f"{kind}.delta", seq__gt=last or 0)
    bodies = (row.parse().event for row in pieces)
    return "".join(body.text for body in bodies if isinstance(body, PIECES))


def rows(turn: Turn) -> QuerySet[Event]:
    """The turn's events, in order."""
    found = Event.objects.filter(session_id=turn.session_id, turn=turn.id, seq__gte=turn.seq)
    return found.order_by("seq")
