"""Text that is added to a turn under way: stored once, whoever sends it twice."""

from cli.daemon import settle
from cli.daemon.errors import Conflict
from cli.daemon.models import Taken, Turn
from cli.protocol.events import Event, TurnSteered
from cli.protocol.requests import SteerView


def steer(session: str, turn: str, id: str, open: bool, event: Event) -> None:
    """Let text be added to a turn that runs. Raises UnknownTurn, Conflict, or Taken for an id it has had."""
    found = Turn.of(session, turn)
    if any(each.id == id for _, each in steers(found)):
        raise Taken(id)
    if found.state == "queued":
        raise Conflict(f"Turn {turn!r} waits in the queue: cancel it, and submit it anew with this text.")
    if found.state != "running" or not open:
        raise Conflict(f"Turn {turn!r} is at its end: submit the text as a turn of its own.")


def same(session: str, turn: str, body: TurnSteered) -> SteerView:
    """The text that was added before under this id. Raises Conflict when it was another one."""
    found = Turn.of(session, turn)
    seq, before = next((seq, each) for seq, each in steers(found) if each.id == body.id)
    if before.text != body.text:
        raise Conflict(f"Turn {turn!r} was steered with another text as {body.id!r}.", field="id")
    return SteerView(id=body.id, turn=turn, seq=seq)


def steers(turn: Turn) -> list[tuple[int, TurnSteered]]:
    """The texts that were added to a turn, each with its event's number."""
    events = (row.parse() for row in settle.rows(turn).filter(type="turn.steered"))
    return [(each.seq, each.event) for each in events if isinstance(each.event, TurnSteered)]
