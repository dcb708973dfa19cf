"""What a client sends to `/v3`, and what it gets back besides events."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from cli.protocol.events import Event
from opta.strict import Strict

# An id is a path segment and a file name: letters, digits, - and _.
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
TurnState = Literal["queued", "running", "done", "failed", "cancelled", "stopped"]


class TurnSubmit(Strict):
    """With an `id` that exists in the session, that turn is the answer: a retried submit runs once.

    With another text or model than that turn's it is refused (409).
    With `last_seen_seq`, it is refused (409) when anything but text was stored after that event.
    `interactive` says that a client is there to answer permission requests; in other turns what would be
    asked for is denied.
    """

    id: Id | None = None
    text: Annotated[str, Field(min_length=1, max_length=1_000_000, pattern=r"\S")]
    model: Annotated[str, Field(max_length=200)] | None = None
    last_seen_seq: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    interactive: bool = False


class TurnSteer(Strict):
    """Text for the running turn. With an `id` that the turn was steered by, it is added only once."""

    id: Id | None = None
    text: Annotated[str, Field(min_length=1, max_length=1_000_000, pattern=r"\S")]


class TurnCancel(Strict):
    """`turn` alone, which is one of the session's, or every one that waits or runs when it is left out."""

    turn: Id | None = None


class SteerView(BaseModel):
    """`seq` is the number of its `turn.steered` event."""

    id: str
    turn: str
    seq: int


class TurnView(BaseModel):
    """`seq` is the number of the last event before this turn: follow from there to see all of it."""

    id: str
    state: TurnState
    text: str
    seq: int
    created: datetime


class EventList(BaseModel):
    """Events in order; when there are as many as were asked for, ask again after the last one's `seq`."""

    events: list[Event]


class TurnsCancelled(BaseModel):
    """The turns that this request ended; a turn that had ended before is not among them."""

    turns: list[str]


class Problem(BaseModel):
    """Every answer that is not 2xx, as `application/problem+json` (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    # The part of the request that is wrong, when one part is.
    field: str | None = None
    # The session's last event, when the request was refused because the client had not seen it.
    seq: int | None = None


class HandOff(Strict):
    """How long the turns that run may go on before the daemon ends for its successor."""

    seconds: Annotated[float, Field(ge=0, le=600)] = 30


class Health(BaseModel):
    """`service` is always "opta-daemon": how a client tells the daemon from a stranger on its port."""

    service: str
    status: Literal["ok"]
    version: str
    protocol: int
    pid: int
    uptime_seconds: float
    active_turns: int
