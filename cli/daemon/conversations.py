"""A conversation that a client brings whole with each request, as a session that goes on.

A client of OpenAI's API keeps the conversation itself and sends all of it every time. The session that
has this very past goes on with it: what its tools did stays known to the model, and a server's kept
prefix holds. Where there is none (the client changed the past, or made it elsewhere) a new one takes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from hashlib import sha256
from json import dumps

from django.db import transaction
from pydantic import ValidationError

from cli.daemon import sessions
from cli.daemon.models import Session, Turn, facts, new_id, store
from cli.protocol.completions import ChatRequest, Said
from cli.protocol.events import Event, TextDone, TurnDone, TurnQueued, TurnStarted, Usage
from cli.protocol.prose import Prose
from cli.protocol.requests import TurnSubmit
from cli.protocol.sessions import SessionCreate
from opta.api import from_validation
from opta.errors import Refusal

TAG = "api"
# Of sessions that begin alike, how many are compared with what a client brings.
COMPARED = 20


@dataclass(frozen=True)
class Exchange:
    """What the user said, and all that was answered."""

    asked: str
    answered: str


@dataclass(frozen=True)
class Conversation:
    """`session` is as it would be made anew; its id is the beginning of the id that it gets."""

    session: SessionCreate
    past: tuple[Exchange, ...]
    text: str


def read(request: ChatRequest) -> Conversation:
    """Raises Refusal for messages that are no conversation with a user at its end."""
    leading = next(
        (place for place, said in enumerate(request.messages) if said.role in ("user", "assistant")), 0
    )
    system = "\n\n".join(said.text for said in request.messages[:leading])
    *past, last = exchanges(request.messages[leading:], leading)
    first = past[0].asked if past else last.asked
    start = dumps([request.model, request.metadata.cwd, system, first])
    try:
        session = SessionCreate(
            id=f"{TAG}-{sha256(start.encode()).hexdigest()[:16]}-",
            title=first.strip().split("\n")[0].strip()[:60],
            model=request.model,
            cwd=request.metadata.cwd,
            system=system,
            tags=[TAG],
        )
        turn = TurnSubmit(text=last.asked)
    except ValidationError as error:
        raise from_validation(list(map(dict, error.errors()))) from error
    return Conversation(session, tuple(past), turn.text)


def exchanges(messages: Sequence[Said], skipped: int) -> list[Exchange]:
    """The turns of a conversation, the last one not answered yet; messages of one side in a row are one."""
    found: list[Exchange] = []
    for place, said in enumerate(messages):
        where = f"messages.{skipped + place}"
        before = messages[place - 1].role if place else "assistant"
        if said.role == "user" and not said.text.strip():
            raise Refusal(f"{where}: the message is empty.", field=where)
        if said.role == "user" and before == "assistant":
            found.append(Exchange(said.text, ""))
        elif said.role == "user":
            found[-1] = Exchange(f"{found[-1].asked}\n\n{said.text}", "")
        elif said.role == "assistant" and found:
            answered = f"{found[-1].answered}\n\n{said.text}" if before == "assistant" else said.text
            found[-1] = Exchange(found[-1].asked, answered)
        else:
            what = (
                "the first word is the user's" if said.role == "assistant" else "it belongs before all others"
            )
            raise Refusal(f"{where}: the message is the {said.role}'s, and {what}.", field=where)
    if not messages or messages[-1].role != "user":
        raise Refusal("messages: the last one must be the user's.", field="messages")
    return found


@transaction.atomic
def place(asked: Conversation, today: date) -> tuple[str, TurnSubmit]:
    """The session that goes on, and the turn: refused as behind when another one comes between."""
    prefix = str(asked.session.id)
    alike = Session.objects.filter(id__gte=prefix, id__lt=f"{prefix}~", turns=len(asked.past))
    for session in alike.order_by("-updated")[:COMPARED]:
        if past(session.id) == asked.past:
            return session.id, TurnSubmit(text=asked.text, last_seen_seq=session.seq)
    id, seq = begin(asked, today)
    return id, TurnSubmit(text=asked.text, last_seen_seq=seq)


def past(session: str) -> tuple[Exchange, ...]:
    """What a client that only reads the answers knows of a session."""
    turns: dict[str, tuple[str, list[str], Prose]] = {}
    for fact in facts(session):
        if isinstance(fact.event, TurnQueued):
            turns[fact.turn] = (fact.event.text, [], Prose())
        elif fact.turn in turns:
            _, said, prose = turns[fact.turn]
            said.append(prose.feed(fact.event))
    return tuple(Exchange(text, "".join(said)) for text, said, _ in turns.values())


def begin(asked: Conversation, today: date) -> tuple[str, int]:
    """A session with the past as its own, and the number of its last event."""
    id = f"{asked.session.id}{new_id()[:16]}"
    sessions.create(asked.session.model_copy(update={"id": id}), today)
    batch: list[Event] = []
    for exchange in asked.past:
        batch += told(id, exchange, asked.session.model, len(batch) + 1)
    if batch:
        store(id, batch, batch[-1].seq)
        Session.objects.filter(id=id).update(turns=len(asked.past))
    return id, len(batch)


def told(session: str, exchange: Exchange, model: str, seq: int) -> list[Event]:
    """A turn that happened elsewhere: its row is made, its events are returned."""
    turn, now = new_id(), datetime.now(UTC)
    bodies = (
        TurnQueued(text=exchange.asked),
        TurnStarted(model=model),
        TextDone(text=exchange.answered),
        TurnDone(text=exchange.answered, finish_reason="stop", usage=Usage(), seconds=0),
    )
    row = Turn(
        session_id=session, id=turn, text=exchange.asked, model=model, state="done", seq=seq, created=now
    )
    row.save(force_insert=True)
    return [Event(seq=seq + n, turn=turn, time=now, event=body) for n, body in enumerate(bodies)]
