"""`WS /v3/ws`: sessions followed and steered over one socket; its messages are in cli/protocol/socket.py."""

import asyncio
import json
import logging
from importlib import import_module
from typing import NamedTuple
from urllib.parse import parse_qs
from weakref import WeakValueDictionary

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, from_json

from cli.daemon.access.scopes import MESSAGES
from cli.daemon.access.tokens import Caller
from cli.daemon.auth import Application, Scope, Send, refuse
from cli.daemon.errors import Behind, Conflict, Replaced, UnknownSession
from cli.daemon.hub import Hub
from cli.daemon.lifetime import farewell
from cli.daemon.log import Log
from cli.protocol import socket as wire
from cli.protocol.events import SEQ
from cli.protocol.requests import TurnsCancelled
from opta.api import from_validation
from opta.body import Body, Receive
from opta.errors import Refusal

logger = logging.getLogger(__name__)

# On one socket: sessions followed, and requests under way.
MOST_SESSIONS, MOST_REQUESTS = 64, 64
# Who takes nothing for so long is dropped, and may resume.
STALL_SECONDS = 5.0
# The word of why waits so long for a client that reads again.
LINGER_SECONDS = 30.0


class Closing(NamedTuple):
    """Our own codes are 4000 and HTTP's status, the others are the protocol's (RFC 6455, 7.4.1)."""

    code: int
    reason: str


GOING_AWAY = Closing(1001, "The daemon is stopping.")
REPLACED = Closing(1012, Replaced().message)
NO_JSON = Closing(1003, "A message is a JSON object in a text frame.")
UNREADABLE = Closing(1011, "The daemon's database failed; its log says how.")
BAD_QUERY = Closing(4400, "Give session= and, to resume, after= (an event's number).")
NOT_FOUND = Closing(4404, "There is no such session.")
STALLED = Closing(4408, "Nothing was read for too long. Connect again; subscribe after the last event seen.")


async def websockets(scope: Scope, receive: Receive, send: Send) -> None:
    """Every WebSocket of the daemon, by its path; anything else is denied."""
    await receive()  # websocket.connect
    route = SOCKETS.get(scope["path"])
    if route:
        with scope["hub"].metrics.sockets.track_inprogress():
            await route(scope, receive, send)
    else:
        message = f"There is no WebSocket {scope['path']}; {', '.join(SOCKETS)} is one."
        await refuse(Refusal(message, status=404, code="not_found"), scope, Body(receive), send)


async def sessions(scope: Scope, receive: Receive, send: Send) -> None:
    # Accepted before the query is read: a closing code says why, which a denied handshake cannot.
    await send({"type": "websocket.accept"})
    socket = Socket(scope["hub"], scope["caller"], send)
    closing = await socket.begin(scope["query_string"].decode("latin-1")) or await socket.run(receive)
    if closing:
        await socket.close(closing)
    await socket.finish()


async def editors(scope: Scope, receive: Receive, send: Send) -> None:
    # The protocol's library takes most of a second to import: the first editor waits for it, nobody else.
    acp = await asyncio.to_thread(import_module, "cli.daemon.acp.socket")
    await acp.serve(scope, receive, send)


SOCKETS: dict[str, Application] = {"/v3/ws": sessions, "/acp": editors}


class Socket:
    """One client: the sessions it follows and the requests it made.

    It has no queue that could grow: whoever has something to say waits for his turn to send, and a
    follower meanwhile leaves in the log what is there. So a publisher waits for nobody.
    """

    def __init__(self, hub: Hub, caller: Caller, send: Send) -> None:
        self.hub, self.caller, self.send = hub, caller, send
        self.followers: dict[str, asyncio.Task[None]] = {}
        self.requests: set[asyncio.Task[None]] = set()
        # Requests about one session are carried out one after the other.
        self.lanes: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        # First come, first served: an ack that is said before a follower begins is sent before its events.
        self.sending = asyncio.Lock()
        # Done when the client is given up or gone: nothing is sent any more.
        self.over: asyncio.Future[Closing | None] = asyncio.get_running_loop().create_future()

    async def begin(self, query: str) -> Closing | None:
        """Follow the session that the query names, if it names one; returns why that cannot be."""
        fields = parse_qs(query, keep_blank_values=True)
        if not fields:
            return None
        known = fields.keys() <= {"session", "after"} and all(len(given) == 1 for given in fields.values())
        session, after = fields.get("session", [""])[0], fields.get("after", ["0"])[0]
        if not known or not session or not SEQ.fullmatch(after):
            return BAD_QUERY
        try:
            await self.follow(session, int(after))
        except UnknownSession:
            return NOT_FOUND
        except Refusal as refusal:
            return UNREADABLE if refusal.status >= 500 else BAD_QUERY
        return None

    async def run(self, receive: Receive) -> Closing | None:
        """Until either side ends it: how to close it, or None when the client is gone."""
        hearing, outliving = asyncio.create_task(self.hear(receive)), asyncio.create_task(self.outlive())
        try:
            done, _ = await asyncio.wait([hearing, outliving, self.over], return_when=asyncio.FIRST_COMPLETED)
            return done.pop().result()
        finally:
            self.over.cancel()
            for task in (hearing, outliving, *self.followers.values()):
                task.cancel()

    async def close(self, closing: Closing) -> None:
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                await self.send({"type": "websocket.close", **closing._asdict()})
        except (OSError, RuntimeError) as error:  # as in `say`
            logger.info("a client went before it heard why (%s): %r", closing.reason, error)

    async def finish(self) -> None:
        """What was asked for is done, also for a client that did not wait for it."""
        if self.requests:
            await asyncio.wait(self.requests)

    async def outlive(self) -> Closing | None:
        """Every session followed comes to its end when the daemon stops."""
        await self.hub.logs.closed.wait()
        if self.followers:
            await asyncio.wait(self.followers.values())
        return REPLACED if self.hub.lifetime.replaced else GOING_AWAY

    async def hear(self, receive: Receive) -> Closing | None:
        """Take what the client says, until it says what is no message at all, or is gone."""
        while (message := await receive())["type"] == "websocket.receive":
            try:
                value = from_json(message.get("text") or "")
            except ValueError:
                return NO_JSON
            try:
                await self.take(value)
            except Refusal as refusal:
                await self.say(error(request_id(value), refusal))
        return None

    async def take(self, value: object) -> None:
        """Answer a message, or begin to carry out what it asks for. Raises Refusal."""
        request = parse(value)
        need = MESSAGES.get(request.type, "write")
        self.hub.keys.permit(self.caller, need, request.type, write=need != "read")
        if isinstance(request, wire.Ping):
            await self.say(wire.Pong(id=request.id))
            return
        if len(self.requests) >= MOST_REQUESTS:
            message = f"{MOST_REQUESTS} requests of this socket are under way. Wait for an ack."
            raise Refusal(message, status=429, code="too_many_requests")
        task = asyncio.create_task(self.carry_out(request))
        self.requests.add(task)
        task.add_done_callback(self.requests.discard)

    async def carry_out(self, request: wire.AnySessionRequest) -> None:
        async with self.lanes.setdefault(request.session, asyncio.Lock()):
            try:
                answer: BaseModel = wire.Ack(id=request.id, body=await self.do(request))
            except Refusal as refusal:
                answer = error(request.id, refusal)
            except Exception as failure:  # the last line: whatever happens, the client is told
                logger.exception("%s of session %s", request.type, request.session)
                answer = error(request.id, broken(failure))
            await self.say(answer)

    async def do(self, request: wire.AnySessionRequest) -> wire.Result:
        """Raises Refusal."""
        turns, session = self.hub.turns, request.session
        match request:
            case wire.Subscribe():
                return await self.follow(session, request.after)
            case wire.Unsubscribe():
                await self.unfollow(session)
                return None
            case wire.SubmitTurn():
                return await turns.submit(session, request.body)
            case wire.SteerTurn():
                return await turns.steer(session, request.turn, request.body)
            case wire.CancelTurns():
                return TurnsCancelled(turns=await turns.cancel(session, request.body.turn))
            case wire.ResolvePermission():
                await self.hub.questions.resolve(session, request.body, self.caller)
                return None

    async def follow(self, session: str, after: int) -> wire.Subscribed:
        log = self.hub.logs.of(session)
        await log.load()
        if session in self.followers:
            raise Conflict(f"The socket follows {session!r} already. Unsubscribe first.", field="session")
        if len(self.followers) >= MOST_SESSIONS:
            message = f"The socket follows {MOST_SESSIONS} sessions. Unsubscribe from one, or open another."
            raise Refusal(message, field="session", status=429, code="too_many_subscriptions")
        log.check(after)
        self.followers[session] = asyncio.create_task(self.tell(log, after))
        return wire.Subscribed(seq=log.seq)

    async def unfollow(self, session: str) -> None:
        task = self.followers.pop(session, None)
        if task is None:
            message = f"The socket does not follow {session!r}."
            raise Refusal(message, field="session", status=404, code="not_subscribed")
        task.cancel()
        await asyncio.wait([task])

    async def tell(self, log: Log, after: int) -> None:
        """Every event above `after`, and each as it comes, until the log ends or cannot be read."""
        rest = f',"type":"event","session":{json.dumps(log.session)}}}'
        try:
            async for event in log.follow(after):
                await self.say(event.as_json[:-1] + rest)
                after = event.seq
            if self.hub.logs.closed.is_set():
                if self.hub.lifetime.replaced:
                    await self.say(farewell(log.session, after))
                return  # `outlive` says why
            why: Refusal = UnknownSession(log.session)  # it was deleted
        except Refusal as refusal:
            why = refusal
        except Exception as failure:  # the last line, as above
            logger.exception("following session %s", log.session)
            why = broken(failure)
        del self.followers[log.session]
        await self.say(wire.Unsubscribed(session=log.session, code=why.code, message=why.message))

    async def say(self, message: BaseModel | str) -> None:
        """Send a message, when it is its turn; a client that is gone, or was given up, gets none."""
        text = message if isinstance(message, str) else message.model_dump_json(exclude_none=True)
        async with self.sending:
            if self.over.done():
                return
            try:
                async with asyncio.timeout(STALL_SECONDS):
                    await self.send({"type": "websocket.send", "text": text})
            except TimeoutError:
                logger.warning("a client took nothing for %s s and is dropped", STALL_SECONDS)
                if not self.over.done():
                    self.over.set_result(STALLED)
            except (OSError, RuntimeError) as error:
                # Gone: OSError is ASGI's word for it, RuntimeError uvicorn's once its own ping gave up.
                logger.debug("a client is gone: %r", error)


def parse(value: object) -> wire.AnyRequest:
    """Raises Refusal that names what is wrong."""
    try:
        return wire.SocketRequest.model_validate(value).root
    except ValidationError as invalid:
        errors = [{"loc": ("message", *where(one)), "msg": one["msg"]} for one in invalid.errors()]
        raise from_validation(errors) from invalid


def where(error: ErrorDetails) -> tuple[int | str, ...]:
    """The path within the message; pydantic puts the type first, and has none for an unknown one."""
    return ("type",) if error["type"].startswith("union_tag") else error["loc"][1:]


def request_id(value: object) -> str | None:
    id = value.get("id") if isinstance(value, dict) else None
    return id if isinstance(id, str) else None


def error(id: str | None, refusal: Refusal) -> wire.Error:
    seq = refusal.seq if isinstance(refusal, Behind) else None
    return wire.Error(id=id, code=refusal.code, message=refusal.message, field=refusal.field, seq=seq)


def broken(failure: Exception) -> Refusal:
    return Refusal(f"{type(failure).__name__} in the daemon; its log has the trace.", code="internal_error")
