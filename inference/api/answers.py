"""What every dialect does with a runner: ask in time for a status, then gather its events or stream them."""

import re
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field

import msgspec
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils.decorators import async_only_middleware
from pydantic_core import from_json, to_json

from inference.api.auth import Handler
from inference.api.client import client_of, priority_of
from inference.api.front import pool_of
from inference.catalog import Model
from inference.inbox import Pause
from inference.pool import Pool
from inference.request import (
    Call,
    Ended,
    Event,
    Finish,
    Generate,
    Logprob,
    Progress,
    Reason,
    Reasoning,
    Started,
    Text,
    ToolCall,
)
from opta import sse
from opta.errors import Refusal

Events = AsyncGenerator[Event | Pause]

ENGINE = "X-Opta-Engine"
# What a header may hold: one line of ASCII, and not too much of it.
ONE_LINE, LONGEST = re.compile(r"[^ -~]+"), 300


async def ask(request: HttpRequest, model: Model, wanted: Generate) -> tuple[Started, Events]:
    """The events behind Started, for whoever asks. Raises Refusal while a status code can still say it."""
    asked = msgspec.structs.replace(wanted, client=client_of(request), priority=priority_of(request))
    begun = await begin(pool_of(request), model, asked)
    tell_engine(request, model)
    return begun


async def begin(pool: Pool, model: Model, wanted: Generate) -> tuple[Started, Events]:
    """Once the prompt is accepted and queued: its length, and the events that follow. Raises Refusal."""
    events = pool.generate(model, wanted)
    async for event in events:
        if isinstance(event, Started):
            return event, events
    raise AssertionError("a runner's first event is Started, or it raises")


def tell_engine(request: HttpRequest, model: Model) -> None:
    """Leave word for the answer's header of what runs the model."""
    runner = next((one for one in pool_of(request).runners if one.model.id == model.id), None)
    if runner:
        request.META[ENGINE] = "; ".join(filter(None, (runner.engine, runner.fallback)))


@async_only_middleware
def engine_header(get_response: Handler) -> Handler:
    """`X-Opta-Engine: mlx`, or `gguf; ` and why not the model's own engine, on every answer of a model."""

    async def telling(request: HttpRequest) -> HttpResponse:
        response = await get_response(request)
        if told := request.META.get(ENGINE):
            response[ENGINE] = ONE_LINE.sub(" ", told)[:LONGEST]
        return response

    return telling


@dataclass
class Choice:
    """One choice as far as it has come."""

    text: str = ""
    reasoning: str = ""
    calls: list[Call] = field(default_factory=list)
    logprobs: list[Logprob] = field(default_factory=list)
    # Known when it has ended.
    reason: Reason | None = None
    stop: str | None = None

    def add(self, event: Text | Reasoning | ToolCall | Ended) -> None:
        match event:
            case Text():
                self.text += event.text
                self.logprobs += event.logprobs
            case Reasoning():
                self.reasoning += event.text
            case ToolCall(call_id=str(id), name=str(name)):
                self.calls.append(Call(id, name, event.arguments))
            case ToolCall():
                call = self.calls[event.index]
                self.calls[event.index] = Call(call.id, call.name, call.arguments + event.arguments)
            case Ended():
                self.reason, self.stop = event.reason, event.stop


def arguments(call: Call) -> msgspec.Raw:
    """A call's arguments as an object; of an answer that was cut short, as far as they came."""
    found = from_json(call.arguments or "{}", allow_partial=True)
    return msgspec.Raw(to_json(found if isinstance(found, dict) else {}, inf_nan_mode="null"))


async def gather(events: Events, choices: int = 1) -> tuple[list[Choice], Finish]:
    """The whole answer, every choice in its place. Raises Refusal when it breaks off."""
    found = [Choice() for _ in range(choices)]
    async with aclosing(events):
        async for event in events:
            match event:
                case Text() | Reasoning() | ToolCall() | Ended():
                    found[event.choice].add(event)
                case Finish():
                    return found, event
    raise AssertionError("a runner's events end with Finish, or raise")


def stream(
    events: Events,
    frames: Callable[[Event], Iterable[bytes]],
    failed: Callable[[Refusal], bytes],
    *,
    first: bytes = b"",
    ping: bytes = sse.PING,
) -> StreamingHttpResponse:
    """Server-sent events: `first` at once, what `frames` makes of each of the runner's, and `failed` of a
    break in the middle. What came together is written together.

    Between them are comments, which clients skip: how far a long prompt is read, and pings.
    """

    async def written() -> AsyncGenerator[bytes]:
        held = first
        try:
            async with aclosing(events):
                async for event in events:
                    match event:
                        case Pause():
                            if held or event.silent:
                                yield held or ping
                                held = b""
                        case Progress():
                            held += b": reading %d/%d\n\n" % (event.done, event.total)
                        case _:
                            held += b"".join(frames(event))
        except Refusal as error:
            held += failed(error)
        yield held

    return sse.response(written())
