"""`POST /v1/chat/completions`: OpenAI's chat onto the internal request, and its events back."""

import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from msgspec import UNSET
from ninja import Router

from inference.api.dialect import answer, event
from inference.api.docs import responses
from inference.api.front import pool_of
from inference.catalog import Defaults
from inference.errors import envelope
from inference.request import Chat, Ended, Event, Finish, Generate, Message, Sampling, Text
from inference.schemas.chat import (
    Answer,
    ChatChunk,
    ChatCompletion,
    ChatRequest,
    Choice,
    ChunkChoice,
    Delta,
    PromptDetails,
    Usage,
)
from opta import sse
from opta.errors import Refusal

router = Router(tags=["OpenAI"])


@router.post("/chat/completions", summary="Chat", openapi_extra=responses(ChatCompletion, ChatChunk))
async def chat(request: HttpRequest, wanted: ChatRequest) -> HttpResponse | StreamingHttpResponse:
    """Answers whole, or as server-sent events of `chat.completion.chunk` with `stream: true`."""
    pool = pool_of(request)
    model = pool.find(wanted.model)
    events = pool.generate(model, generate(wanted, model.defaults))
    # A request the runner refuses has this instead of its first event: in time for a status code.
    await anext(events)
    reply = Reply(model.id, wanted.wants_usage)
    if wanted.stream:
        return sse.response(reply.stream(events))
    return answer(await reply.whole(events))


def generate(wanted: ChatRequest, defaults: Defaults) -> Generate:
    """The internal request: the client's fields, else the model's defaults."""
    return Generate(
        id=0,
        prompt=Chat([Message(**message.model_dump(exclude_none=True)) for message in wanted.messages]),
        max_tokens=wanted.max_completion_tokens or wanted.max_tokens or defaults.max_tokens,
        sampling=Sampling(
            temperature=defaults.temperature if wanted.temperature is None else wanted.temperature,
            top_p=wanted.top_p or defaults.top_p,
            seed=wanted.seed,
        ),
        stop=wanted.stop or [],
    )


def usage(finish: Finish) -> Usage:
    return Usage(
        prompt_tokens=finish.prompt_tokens,
        completion_tokens=finish.completion_tokens,
        total_tokens=finish.prompt_tokens + finish.completion_tokens,
        prompt_tokens_details=PromptDetails(finish.cached_tokens),
    )


@dataclass
class Reply:
    """One answer on its way out, whole or in chunks."""

    model: str
    wants_usage: bool
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    async def whole(self, events: AsyncGenerator[Event]) -> ChatCompletion:
        text, reason = "", ""
        async with aclosing(events):
            async for found in events:
                if isinstance(found, Text):
                    text += found.text
                elif isinstance(found, Ended):
                    reason = found.reason
                elif isinstance(found, Finish):
                    choices = [Choice(Answer(text), reason)]
                    return ChatCompletion(self.id, self.created, self.model, choices, usage(found))
        raise AssertionError("a runner's events end with Finish, or raise")

    async def stream(self, events: AsyncGenerator[Event]) -> AsyncIterator[bytes]:
        """Chunks as server-sent events; a failure half-way is an event of its own, and then the end."""
        yield self.chunk(Delta(role="assistant", content=""))
        try:
            async with aclosing(events):
                async for found in events:
                    if isinstance(found, Text):
                        yield self.chunk(Delta(content=found.text))
                    elif isinstance(found, Ended):
                        yield self.chunk(Delta(), found.reason)
                    elif isinstance(found, Finish) and self.wants_usage:
                        yield event(ChatChunk(self.id, self.created, self.model, [], usage(found)))
        except Refusal as error:
            yield event(envelope(error))
        else:
            yield b"data: [DONE]\n\n"

    def chunk(self, delta: Delta, reason: str | None = None) -> bytes:
        choices = [ChunkChoice(delta, reason)]
        return event(
            ChatChunk(self.id, self.created, self.model, choices, None if self.wants_usage else UNSET)
        )
