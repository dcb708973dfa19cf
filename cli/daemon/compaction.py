"""Old turns keep their whole messages; the pieces these were streamed in go."""

import logging

from cli.daemon.database import Database
from cli.daemon.log import Log
from cli.daemon.models import Event, Turn
from cli.daemon.settle import DELTAS
from opta.errors import Refusal

log = logging.getLogger(__name__)

# So many turns, the last ones of a session, are replayed as they were streamed.
KEPT = 20
# Rows deleted at a time: what else is to be stored waits no longer than for these.
BATCH = 200


async def run(database: Database, session: Log) -> None:
    """Delete what may go, in small steps."""
    try:
        while await database(compact, session.session):
            pass
        session.shed()
    except Refusal as error:  # a full disk: the next turn's end tries again
        log.warning("session %s is not compacted: %s", session.session, error.message)


def compact(session: str) -> bool:
    """Delete some pieces of turns older than the last KEPT; whether there may be more of them.

    A turn that runs keeps all of its own: its last text is no whole message yet.
    """
    turns = Turn.objects.filter(session_id=session)
    oldest = turns.order_by("-seq").values_list("seq", flat=True)[KEPT - 1 : KEPT].first()
    if oldest is None:
        return False
    found = Event.objects.filter(session_id=session, seq__lt=oldest, type__in=DELTAS)
    found = found.exclude(turn__in=turns.filter(state="running").values("id"))
    last = list(found.order_by("seq").values_list("seq", flat=True)[:BATCH])
    if last:
        found.filter(seq__lte=last[-1]).delete()
    return len(last) == BATCH
