"""`WS /v1/chat/stream`: several chats on one socket; the messages are in inference/schemas/websocket.py."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import aclosing
from typing import Any

import msgspec
from django.utils.datastructures import CaseInsensitiveMapping
from pydantic import ValidationError

from inference.api import answers, chat
from inference.api.auth import check
from inference.api.client import client, priority
from inference.api.dialect import encode
from inference.inbox import Pause
from inference.pool import Pool
from inference.request import Ended, Event, Finish, Progress, Reasoning, Text, ToolCall
from inference.schemas.chat import Logprobs
from inference.schemas.websocket import Accepted, Cancel, Delta, Done, Incoming, Reading, Request
from opta.api import from_validation
from opta.errors import Refusal, envelope

log = logging.getLogger(__name__)
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]

PATH = "/v1/chat/stream"
# Chats at once on one socket.
MOST = 32


async def serve(scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
    """The ASGI application of every WebSocket. Who may not come in is told so before it is accepted."""
    await receive()
    headers = CaseInsensitiveMapping({k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]})
    try:
        check(headers, scope["pool"].config)
        if scope["path"] != PATH:
            raise Refusal(
                f"There is no WebSocket {scope['path']}; {PATH} is one.", status=404, code="not_found"
            )
        socket = Socket(scope["pool"], (scope["client"] or [""])[0], headers, send)
    except Refusal as error:
        head = {"status": error.status, "headers": [(b"content-type", b"application/json")]}
        await send({"type": "websocket.http.response.start", **head})
        await send({"type": "websocket.http.response.body", "body": encode(envelope(error))})
        return
    await send({"type": "websocket.accept"})
    try:
        while (message := await receive())["type"] == "websocket.receive":
            await socket.hear(message.get("text"))
    except OSError:  # how ASGI says that nobody is there to be answered
        pass
    finally:
        await socket.close()


class Socket:
    """One client's chats, by the ids it gave them."""

    def __init__(self, pool: Pool, address: str, headers: Mapping[str, str], send: Send) -> None:
        """Raises Refusal for a priority that there is not."""
        self.pool, self.send = pool, send
        self.client, self.priority = client(address, headers), priority(headers)
        self.running: dict[str, asyncio.Task[None]] = {}

    async def hear(self, text: str | None) -> None:
        """Do what a message says; what cannot be done is answered with chat.error."""
        id = None
        try:
            value = read(text)
            id = value.get("id") if isinstance(value.get("id"), str) else None
            message = parse(value)
            if isinstance(message, Cancel):
                await self.cancel(message.id)
            else:
                self.start(message)
        except Refusal as error:
            await self.refuse(id, error)

    def start(self, wanted: Request) -> None:
        if wanted.id in self.running:
            raise Refusal(f"{wanted.id!r} is still being answered. Choose another id.", field="id")
        if len(self.running) >= MOST:
            message = f"{MOST} chats are running on this socket. Wait for one to end, or open another."
            raise Refusal(message, status=429, code="too_many_requests")
        self.running[wanted.id] = asyncio.create_task(self.answer(wanted))

    async def cancel(self, id: str) -> None:
        if id not in self.running:
            raise Refusal(
                f"No chat {id!r} is running. It may have just ended.", field="id", code="not_running"
            )
        task = self.running.pop(id)
        task.cancel()
        await asyncio.wait([task])
        await self.say(Done(id, [], None))

    async def close(self) -> None:
        """Nobody listens any more."""
        tasks = list(self.running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def answer(self, wanted: Request) -> None:
        id = wanted.id
        try:
            await self.say(await self.chat(id, wanted))
        except Refusal as error:
            self.running.pop(id, None)
            await self.refuse(id, error)
        except OSError:  # the client has gone, and `serve` learns it too
            pass
        except Exception as error:  # the last line: whatever happens, the client is told
            log.exception("a chat over %s failed", PATH)
            self.running.pop(id, None)
            message = f"{type(error).__name__} in the server; its log has the trace."
            await self.refuse(id, Refusal(message, status=500, code="internal_error"))

    async def chat(self, id: str, wanted: Request) -> Done:
        """Tell a chat as it comes; its last message is returned, when its id is free. Raises Refusal."""
        model = self.pool.find(wanted.body.model)
        asked = msgspec.structs.replace(
            wanted.body.generate(model.defaults), client=self.client, priority=self.priority
        )
        started, events = await answers.begin(self.pool, model, asked)
        reasons: dict[int, str] = {}
        async with aclosing(events):
            await self.say(Accepted(id, model.id, started.prompt_tokens))
            async for event in events:
                if isinstance(event, Ended):
                    reasons[event.choice] = event.reason
                elif isinstance(event, Finish):
                    del self.running[id]
                    return Done.of(id, reasons, event)
                elif said := told(id, event):
                    await self.say(said)
        raise AssertionError("a runner's events end with Finish, or raise")

    async def refuse(self, id: str | None, error: Refusal) -> None:
        refused = {"type": "chat.error", "id": id, "status": error.status, **envelope(error)}
        if error.retry_after is not None:
            refused["retry_after"] = error.retry_after
        await self.say(refused)

    async def say(self, message: object) -> None:
        await self.send({"type": "websocket.send", "text": encode(message).decode()})


def read(text: str | None) -> dict[str, Any]:
    """Raises Refusal for what is no JSON object."""
    try:
        value = json.loads(text) if text is not None else None
    except (ValueError, RecursionError) as error:
        raise Refusal(f"The message is not JSON: {error}.") from error
    if not isinstance(value, dict):
        raise Refusal("A message is a JSON object in a text frame.")
    return value


def parse(value: dict[str, Any]) -> Request | Cancel:
    """Raises Refusal that names the first wrong field."""
    try:
        return Incoming.validate_python(value)
    except ValidationError as error:
        errors = [{"loc": ("message", *one["loc"][1:]), "msg": one["msg"]} for one in error.errors()]
        raise from_validation(errors) from error


def told(id: str, event: Event | Pause) -> Reading | Delta | None:
    match event:
        case Progress():
            return Reading(id, event.done, event.total)
        case Text(logprobs=[]):
            return Delta(id, event.choice, text=event.text)
        case Text():
            logprobs = Logprobs([chat.likely_token(one) for one in event.logprobs])
            return Delta(id, event.choice, text=event.text, logprobs=logprobs)
        case Reasoning():
            return Delta(id, event.choice, reasoning=event.text)
        case ToolCall():
            return Delta(id, event.choice, tool_call=chat.piece(event))
    return None
