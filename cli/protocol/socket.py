"""`WS /v3/ws` on the wire: several sessions on one socket, one JSON object a text frame.

    in     subscribe            id, session, after: every event above this number, and then each as it comes
           unsubscribe          id, session
           turn.submit          id, session, body: what POST /v3/sessions/{session}/turns takes
           turn.cancel          id, session, body: what POST …/cancel takes
           turn.steer           id, session, turn, body: what POST …/turns/{turn}/steer takes
           permission.resolve   id, session, body
           ping                 id
    out    event                session, and the event itself: seq, turn, time, event
           ack                  id, body: what the HTTP route answers; of subscribe, where the session stands
           error                id, code, message, field: the request was refused, and the socket goes on
           pong                 id
           unsubscribed         session, code, message: the daemon could not go on with a subscription

Every message in has an `id` of the client's choice and gets one ack, error or pong with this id.
Where it could not be read, the error has none.

Order. Requests about one session are carried out as they came in, those about several side by side.
The ack of subscribe comes before the first event, nothing of a session comes after the ack of
unsubscribe. The ack of a turn comes when it is stored; its events may overtake it, and name the turn.

Closing. What is no JSON, and a binary frame, close the socket (1003). A client that takes nothing for
some seconds is dropped (4408). It subscribes anew with `after` the last event that it saw: nothing is
lost or doubled. `/v3/ws?session=&after=` begins with a subscription, without an ack; what is wrong with
it closes the socket (4400, 4404). 1001 is the daemon's own end, 1011 a database that does not answer.
Before 1012 each subscription ends with the code daemon_replaced and its last number: another daemon takes
the place of this one, the token is new, and what is subscribed after that number goes on.
"""

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, Field, RootModel
from pydantic.json_schema import models_json_schema

from cli.protocol.events import Event
from cli.protocol.requests import (
    Id,
    SteerView,
    TurnCancel,
    TurnsCancelled,
    TurnSteer,
    TurnSubmit,
    TurnView,
)
from opta.strict import Strict


class Request(Strict):
    """The base of all messages in."""

    id: Annotated[str, Field(min_length=1, max_length=128)]


class Ping(Request):
    type: Literal["ping"] = "ping"


class SessionRequest(Request):
    """The base of those about one session."""

    session: Id


class Subscribe(SessionRequest):
    type: Literal["subscribe"] = "subscribe"
    after: Annotated[int, Field(ge=0, lt=2**63)] = 0


class Unsubscribe(SessionRequest):
    type: Literal["unsubscribe"] = "unsubscribe"


class SubmitTurn(SessionRequest):
    type: Literal["turn.submit"] = "turn.submit"
    body: TurnSubmit


class CancelTurns(SessionRequest):
    type: Literal["turn.cancel"] = "turn.cancel"
    body: TurnCancel = TurnCancel()


class SteerTurn(SessionRequest):
    type: Literal["turn.steer"] = "turn.steer"
    turn: Id
    body: TurnSteer


Decision = Literal["allow", "deny"]
DECISIONS: tuple[Decision, ...] = get_args(Decision)
Remember = Literal["once", "session", "always"]
REMEMBERED: tuple[Remember, ...] = get_args(Remember)


class PermissionDecision(Strict):
    """The answer to a question of the daemon's; `message` is what the model reads of a denial."""

    request: Id
    decision: Decision
    remember: Remember = "once"
    message: Annotated[str, Field(max_length=10_000)] = ""


class ResolvePermission(SessionRequest):
    type: Literal["permission.resolve"] = "permission.resolve"
    body: PermissionDecision


AnySessionRequest = Subscribe | Unsubscribe | SubmitTurn | CancelTurns | SteerTurn | ResolvePermission
AnyRequest = AnySessionRequest | Ping


class SocketRequest(RootModel[Annotated[AnyRequest, Field(discriminator="type")]]):
    """Any message in."""


class Subscribed(BaseModel):
    """`seq` is the number of the session's last event: up to it, what follows is replay."""

    seq: int


class SessionEvent(Event):
    """An event as the stream has it, and whose it is."""

    type: Literal["event"] = "event"
    session: str


Result = Subscribed | TurnView | TurnsCancelled | SteerView | None


class Ack(BaseModel):
    type: Literal["ack"] = "ack"
    id: str
    body: Result = None


class Error(BaseModel):
    """`field` is the part of the request that is wrong, when one part is; `seq` as in Problem."""

    type: Literal["error"] = "error"
    id: str | None = None
    code: str
    message: str
    field: str | None = None
    seq: int | None = None


class Pong(BaseModel):
    type: Literal["pong"] = "pong"
    id: str


class Unsubscribed(BaseModel):
    """`seq` is the last event that was sent, when the session goes on in the daemon's successor."""

    type: Literal["unsubscribed"] = "unsubscribed"
    session: str
    code: str
    message: str
    seq: int | None = None


class SocketMessage(
    RootModel[Annotated[SessionEvent | Ack | Error | Pong | Unsubscribed, Field(discriminator="type")]]
):
    """Any message out."""


def schema() -> dict[str, Any]:
    """JSON Schema of `Event`, `SocketRequest` and `SocketMessage`, for clients in other languages."""
    _, document = models_json_schema(
        [(Event, "validation"), (SocketRequest, "validation"), (SocketMessage, "validation")],
        ref_template="#/$defs/{model}",
    )
    return {"$ref": "#/$defs/Event", **document}
