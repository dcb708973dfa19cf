"""`/v1`: a whole turn of the agent, its tools included, as one of OpenAI's chat completions.

Off unless the user's configuration says `openai_api = true`: what asks a model over this API seldom
knows that the answer may come with work done on the machine.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import date
from typing import Any

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from ninja import Router
from pydantic_core import to_json

from cli import config
from cli.daemon import conversations, hub
from cli.daemon.api import models
from cli.daemon.api.dialect import answer_problem
from cli.daemon.api.events import PING_SECONDS
from cli.daemon.conversations import Conversation
from cli.daemon.errors import Behind, Stopping
from cli.daemon.hub import Hub
from cli.protocol import events
from cli.protocol.completions import ChatRequest, Model, Models
from cli.protocol.prose import Prose
from cli.protocol.requests import TurnSubmit, TurnView
from opta import sse
from opta.errors import Refusal, envelope

router = Router()
# The HTTP status of a turn that failed; 502 for all that is a server's fault behind the daemon.
STATUS = {
    "model_not_found": 404,
    "context_length_exceeded": 400,
    "upstream_refused": 400,
    "lmx_unreachable": 503,
    "provider_busy": 503,
    "storage_failed": 507,
    "daemon_stopped": 503,
    "internal_error": 500,
}
# How a client knows that a turn was cut short; it is told why in the text.
FINISH = {"budget": "length", "max_turns": "length", "loop": "stop", "permission": "content_filter"}


@router.post("chat/completions")
async def complete(request: HttpRequest, body: ChatRequest) -> HttpResponse | StreamingHttpResponse:
    here = opened(request)
    asked = conversations.read(body)
    session, turn = await submit(here, body.metadata.session, asked, body.model)
    completion = Completion(here, session, turn, body.model)
    if body.stream:
        usage = body.stream_options is not None and body.stream_options.include_usage
        frames = sse.pinged(completion.frames(usage=usage), PING_SECONDS)
        try:
            return sse.response(await sse.begun(frames))
        except asyncio.CancelledError:  # the frames may not have begun
            await completion.aclose()
            raise
    try:
        return HttpResponse(to_json(await completion.whole()), content_type="application/json")
    except Refusal as refusal:
        answer = answer_problem(request, refusal)
        # OpenAI's clients would ask again by themselves, and what its tools did be done twice.
        answer["X-Should-Retry"] = "false"
        return answer


@router.get("models", response=Models)
async def list_models(request: HttpRequest) -> Models:
    listings = await opened(request).providers.catalogue()
    failures = [listing.failure for listing in listings if listing.failure]
    if failures and len(failures) == len(listings):
        raise Refusal(models.said(failures[0]), status=503, code=failures[0].code)
    return Models(data=[Model(id=view.id) for listing in listings for view in models.models(listing)])


def opened(request: HttpRequest) -> Hub:
    """The hub, where the user wants this API. Raises Refusal where not."""
    here = hub.of(request)
    if not here.providers.choices().openai_api:
        message = f"The daemon's OpenAI API is off. `openai_api = true` in {config.user_file()} turns it on."
        raise Refusal(message, status=404, code="openai_api_off")
    return here


async def submit(here: Hub, session: str | None, asked: Conversation, model: str) -> tuple[str, TurnView]:
    """The turn, queued: in the session that is named, or in the one that has this conversation."""
    if session:
        if asked.past or asked.session.system:
            message = "The session has its own past and system prompt: send the user's new message alone."
            raise Refusal(message, field="messages")
        chosen = None if model == "auto" else model
        return session, await waited(here, session, TurnSubmit(text=asked.text, model=chosen))
    while True:
        found, turn = await here.database(conversations.place, asked, date.today())
        try:
            return found, await waited(here, found, turn)
        except Behind:
            continue  # another request took the same conversation further: this one is beside it now


async def waited(here: Hub, session: str, turn: TurnSubmit) -> TurnView:
    """The turn, queued; ended again for one who hung up meanwhile: the model may be at it already."""
    submitting = asyncio.ensure_future(here.turns.submit(session, turn))
    try:
        return await asyncio.shield(submitting)
    except asyncio.CancelledError:
        await here.turns.cancel(session, (await submitting).id)
        raise


class Completion:
    """A turn under way, for one who waits for its answer: whoever stops waiting ends it."""

    def __init__(self, here: Hub, session: str, turn: TurnView, model: str) -> None:
        self.hub = here
        self.session = session
        self.turn = turn
        # The one that was asked for, until it is known which one answers.
        self.model = model
        self.prose = Prose()
        self.created = int(time.time())
        self.ended = False

    async def bodies(self) -> AsyncGenerator[events.AnyBody]:
        """The turn's events up to its end. Raises Refusal when that cannot be stored, or the daemon stops."""
        async for event in self.hub.logs.of(self.session).follow(self.turn.seq):
            if event.turn == self.turn.id:
                self.ended = isinstance(event.event, events.ENDINGS)
                yield event.event
            if self.ended:
                return
        raise Stopping

    async def aclose(self) -> None:
        """End the turn, if it has not ended."""
        if not self.ended:
            await asyncio.shield(self.hub.turns.cancel(self.session, self.turn.id))

    async def whole(self) -> dict[str, Any]:
        said, thought = [], []
        async with aclosing(self), aclosing(self.bodies()) as bodies:
            async for body in bodies:
                said.append(self.prose.feed(body))
                thought += [body.text] if isinstance(body, events.ReasoningDone) else []
        reason, why = finished(body)
        message = {"role": "assistant", "content": "".join(said) + why}
        if thought:
            message["reasoning_content"] = "\n\n".join(thought)
        choice = {"index": 0, "message": message, "finish_reason": reason, "logprobs": None}
        return {**self.head("chat.completion", body), "choices": [choice], "usage": usage_of(body)}

    async def frames(self, *, usage: bool) -> AsyncGenerator[bytes]:
        """The chunks as they come; a failure is the last of them, for the status is sent by then."""
        try:
            async with aclosing(self), aclosing(self.bodies()) as bodies:
                yield self.chunk({"role": "assistant", "content": ""})
                async for body in bodies:
                    if delta := self.delta(body):
                        yield self.chunk(delta)
            reason, why = finished(body)
            if why:
                yield self.chunk({"content": why})
            yield self.chunk({}, reason, body)
            if usage:
                head = self.head("chat.completion.chunk", body)
                yield frame({**head, "choices": [], "usage": usage_of(body)})
        except Refusal as refusal:
            yield frame(envelope(refusal))
        yield sse.frame("[DONE]")

    def delta(self, body: events.AnyBody) -> dict[str, str]:
        """What a client is told of an event; nothing of most."""
        if isinstance(body, events.ReasoningDelta):
            return {"reasoning_content": body.text}
        text = self.prose.feed(body)
        return {"content": text} if text else {}

    def chunk(
        self, delta: dict[str, str], reason: str | None = None, body: events.AnyBody | None = None
    ) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}
        return frame({**self.head("chat.completion.chunk", body), "choices": [choice]})

    def head(self, kind: str, body: events.AnyBody | None) -> dict[str, Any]:
        model = body.model if isinstance(body, events.TurnDone) else ""
        return {
            "id": f"chatcmpl-{self.turn.id}",
            "object": kind,
            "created": self.created,
            "model": model or self.model,
            "metadata": {"session": self.session, "turn": self.turn.id},
        }


def frame(value: dict[str, Any]) -> bytes:
    return sse.frame(to_json(value).decode())


def finished(ending: events.AnyBody) -> tuple[str, str]:
    """The finish reason, and what is to be added to the text. Raises Refusal for a turn without an answer."""
    match ending:
        case events.TurnDone(finish_reason=reason):
            return reason, ""
        case events.TurnStopped(reason=stop, message=message, hint=hint):
            return FINISH[stop], f"\n\n{message} {hint}".rstrip()
        case events.TurnFailed(code=code, message=message, hint=hint):
            raise Refusal(f"{message} {hint}".strip(), status=STATUS.get(code, 502), code=code)
    raise Refusal("The turn was cancelled by another client.", status=409, code="turn_cancelled")


def usage_of(ending: events.AnyBody) -> dict[str, Any]:
    """The tokens of all the turn's requests together; zeros where the turn was cut short."""
    used = ending.usage if isinstance(ending, events.TurnDone) else events.Usage()
    return {
        "prompt_tokens": used.prompt_tokens,
        "completion_tokens": used.completion_tokens,
        "total_tokens": used.prompt_tokens + used.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": used.cached_tokens},
    }
