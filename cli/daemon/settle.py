"""What a daemon does first: end the turns that a killed one left, so that every history is valid."""

from datetime import UTC, datetime

from django.db import transaction

from cli.daemon.models import Event, Turn, store
from cli.protocol import events
from cli.protocol.failures import Failure

CRASHED = Failure("daemon_crashed", "The daemon died while this turn was under way.").event()
NEVER_RUN = Failure("daemon_crashed", "The daemon died before this turn began.").event()

# The events that leave a message unfinished.
WITHIN = ("text.delta", "reasoning.delta", "reasoning.done", "turn.progress")


def settle() -> int:
    """Fail every turn that is queued or running; nothing else may run yet. Returns how many there were."""
    orphans = Turn.objects.select_related("session").filter(state__in=("queued", "running"))
    ended = 0
    for turn in orphans.order_by("session_id", "seq"):
        end(turn)
        ended += 1
    return ended


@transaction.atomic
def end(turn: Turn) -> None:
    turn.session.refresh_from_db(fields=["reserved"])  # the turn before it may have moved it
    said = unfinished(turn)
    bodies: list[events.AnyBody] = [events.TextDone(text=said)] if said else []
    bodies.append(CRASHED if turn.state == "running" else NEVER_RUN)
    now, after = datetime.now(UTC), turn.session.reserved
    batch = [
        events.Event(seq=after + place, turn=turn.id, time=now, event=body)
        for place, body in enumerate(bodies, 1)
    ]
    turn.move("failed", "queued", "running")
    store(turn.session_id, batch, batch[-1].seq)


def unfinished(turn: Turn) -> str:
    """The text that was stored after the turn's last whole message."""
    rows = Event.objects.filter(session_id=turn.session_id, turn=turn.id)
    last = rows.exclude(type__in=WITHIN).order_by("-seq").values_list("seq", flat=True).first()
    deltas = rows.filter(type="text.delta", seq__gt=last or 0).order_by("seq")
    bodies = (row.parse().event for row in deltas)
    return "".join(body.text for body in bodies if isinstance(body, events.TextDelta))
