"""What the next turn of a session stands on: read once, and kept in step for as long as its log is in use."""

from collections.abc import Sequence
from datetime import date

from cli.agent import context, history, prompt
from cli.daemon.errors import Behind, UnknownSession
from cli.daemon.models import Session, Taken, facts
from cli.protocol.events import DELTAS, ContextCompacted, Event, SessionUpdated
from cli.protocol.messages import Message


class Past:
    """A session's row and all its facts, in order."""

    def __init__(self, session: Session, told: Sequence[Event]) -> None:
        self.session = session
        self.facts: list[Event] = []
        self.turns: set[str] = set()
        # The number of the last fact that a client should have seen: a job says something at any time.
        self.newest = 0
        self.add(told)

    @classmethod
    def read(cls, id: str) -> "Past":
        """Raises UnknownSession."""
        session = Session.objects.filter(id=id).first()
        if session is None:
            raise UnknownSession(id)
        return cls(session, facts(id))

    def add(self, events: Sequence[Event]) -> bool:
        """Take up what was stored; False when it changed the row itself, which then is to be read again."""
        told = [event for event in events if not isinstance(event.event, DELTAS)]
        self.facts += told
        self.turns.update(event.turn for event in told)
        self.newest = max((e.seq for e in told if not e.event.type.startswith("job.")), default=self.newest)
        return not any(isinstance(event.event, SessionUpdated) for event in told)

    def admit(self, turn: str, seen: int | None) -> None:
        """Raises Taken for a turn there is, or Behind when its client has not seen the newest fact."""
        if turn in self.turns:
            raise Taken(turn)
        if seen is not None and seen < self.newest:
            raise Behind(seen, self.newest)

    def conversation(self, text: str, today: date) -> tuple[list[Message], ContextCompacted | None, str]:
        """All that was said up to this text, how it was last compacted, and the reminder at its end."""
        reminder = prompt.reminder(self.facts, self.session.mode, today)
        messages = [Message(role="system", content=self.session.system), *history.messages(self.facts)]
        history.say(messages, text)
        if reminder:
            history.say(messages, reminder)
        return messages, context.last(self.facts), reminder
