"""`POST /v1/chat/completions`: OpenAI's chat onto the internal request, and its events back."""

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from msgspec import UNSET
from ninja import Router

from inference.api import answers
from inference.api.dialect import answer, event
from inference.api.docs import responses
from inference.api.front import pool_of
from inference.request import Alternative, Ended, Event, Finish, Logprob, Reasoning, Text, ToolCall
from inference.schemas.chat import (
    Answer,
    CallFunction,
    CallPiece,
    ChatChunk,
    ChatCompletion,
    ChatRequest,
    Choice,
    ChunkChoice,
    Delta,
    Likely,
    LikelyToken,
    Logprobs,
    MadeCall,
)
from inference.schemas.usage import Usage
from opta.errors import Refusal, envelope

router = Router(tags=["OpenAI"])
DONE = b"data: [DONE]\n\n"
# What stands for the logarithm of 0, which JSON cannot say; OpenAI's own.
NEVER = -9999.0


@router.post("/chat/completions", summary="Chat", openapi_extra=responses(ChatCompletion, ChatChunk))
async def chat(request: HttpRequest, wanted: ChatRequest) -> HttpResponse | StreamingHttpResponse:
    """Answers whole, or as server-sent events of `chat.completion.chunk` with `stream: true`."""
    model = pool_of(request).find(wanted.model)
    asked = wanted.generate(model.defaults)
    _, events = await answers.ask(request, model, asked)
    reply = Reply(model.id, asked.logprobs is not None, wanted.wants_usage)
    if wanted.stream:
        first = b"".join(reply.chunk(Delta(role="assistant", content=""), n) for n in range(asked.choices))
        return answers.stream(events, reply.frames, failed, first=first)
    return answer(reply.whole(*await answers.gather(events, asked.choices)))


@dataclass
class Reply:
    """One answer on its way out, whole or in chunks."""

    model: str
    wants_logprobs: bool
    wants_usage: bool
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, choices: list[answers.Choice], finish: Finish) -> ChatCompletion:
        found = [
            Choice(message(one), one.reason or "stop", index, self.logprobs(one.logprobs))
            for index, one in enumerate(choices)
        ]
        return ChatCompletion(self.id, self.created, self.model, found, Usage.of(finish))

    def frames(self, found: Event) -> Iterator[bytes]:
        match found:
            case Text():
                yield self.chunk(Delta(content=found.text), found.choice, logprobs=found.logprobs)
            case Reasoning():
                yield self.chunk(Delta(reasoning_content=found.text), found.choice)
            case ToolCall():
                yield self.chunk(Delta(tool_calls=[piece(found)]), found.choice)
            case Ended():
                yield self.chunk(Delta(), found.choice, found.reason)
            case Finish():
                if self.wants_usage:
                    yield event(ChatChunk(self.id, self.created, self.model, [], Usage.of(found)))
                yield DONE

    def chunk(
        self, delta: Delta, choice: int, reason: str | None = None, logprobs: list[Logprob] | None = None
    ) -> bytes:
        choices = [ChunkChoice(delta, reason, choice, self.logprobs(logprobs) if logprobs else None)]
        usage = None if self.wants_usage else UNSET
        return event(ChatChunk(self.id, self.created, self.model, choices, usage))

    def logprobs(self, found: list[Logprob]) -> Logprobs | None:
        return Logprobs([likely_token(one) for one in found]) if self.wants_logprobs else None


def failed(error: Refusal) -> bytes:
    """A break in the middle is an event of its own, and the last: no [DONE] follows."""
    return event(envelope(error))


def message(choice: answers.Choice) -> Answer:
    calls = [MadeCall(call.id, CallFunction(call.arguments, call.name)) for call in choice.calls]
    content = None if calls and not choice.text else choice.text
    return Answer(content, reasoning_content=choice.reasoning or UNSET, tool_calls=calls or UNSET)


def piece(found: ToolCall) -> CallPiece:
    if found.call_id is None or found.name is None:
        return CallPiece(found.index, CallFunction(found.arguments))
    return CallPiece(found.index, CallFunction(found.arguments, found.name), found.call_id, "function")


def likely(one: Alternative | Logprob) -> Likely:
    return Likely(one.bytes.decode(errors="replace"), max(one.logprob, NEVER), list(one.bytes))


def likely_token(one: Logprob) -> LikelyToken:
    found = likely(one)
    return LikelyToken(found.token, found.logprob, found.bytes, [likely(other) for other in one.top])
