"""`POST /v1/messages` and `/v1/messages/count_tokens`: Anthropic's dialect."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from ninja import Router

from inference.api import answers
from inference.api.answers import arguments
from inference.api.dialect import answer, encode
from inference.api.docs import responses
from inference.api.front import pool_of
from inference.errors import anthropic
from inference.request import Ended, Event, Finish, Reasoning, Text, Tokenize, Tokens, ToolCall
from inference.schemas import messages_answer as wire
from inference.schemas.messages import CountRequest, MessagesRequest
from opta.errors import Refusal

router = Router(tags=["Anthropic"])


@router.post(
    "/messages", summary="Messages", openapi_extra=responses(wire.Answer, wire.Streamed, error=wire.Error)
)
async def messages(request: HttpRequest, wanted: MessagesRequest) -> HttpResponse | StreamingHttpResponse:
    """Answers whole, or as server-sent events with `stream: true`."""
    model = pool_of(request).find(wanted.model)
    started, events = await answers.ask(request, model, wanted.generate(model.defaults))
    reply = Reply(model.id, wanted.max_tokens)
    if wanted.stream:
        first = reply.begin(started.prompt_tokens)
        return answers.stream(events, reply.frames, failed, first=first, ping=frame(wire.Ping()))
    (choice,), finish = await answers.gather(events)
    return answer(reply.whole(choice, finish))


@router.post(
    "/messages/count_tokens",
    summary="Count tokens",
    openapi_extra=responses(wire.InputTokens, error=wire.Error),
)
async def count_tokens(request: HttpRequest, wanted: CountRequest) -> HttpResponse:
    """How many tokens a message's prompt has: exactly as many as its answer will count."""
    pool = pool_of(request)
    found = await pool.ask(pool.find(wanted.model), Tokenize(0, wanted.prompt), Tokens)
    return answer(wire.InputTokens(len(found.tokens)))


@dataclass
class Reply:
    """One answer on its way out, whole or in events."""

    model: str
    max_tokens: int
    id: str = field(default_factory=lambda: f"msg_{secrets.token_hex(12)}")
    # The content block that is open: its number and the type of what comes in it.
    index: int = -1
    open: type[Text | Reasoning | ToolCall] | None = None
    ended: Ended | None = None

    def whole(self, choice: answers.Choice, finish: Finish) -> wire.Answer:
        content: list[wire.Answered] = []
        if choice.reasoning:
            content.append(wire.Thought(choice.reasoning))
        if choice.text:
            content.append(wire.Text(choice.text))
        content += [wire.ToolUse(call.id, call.name, arguments(call)) for call in choice.calls]
        self.ended = Ended(0, choice.reason or "stop", stop=choice.stop)
        why = self.why(finish)
        return wire.Answer(self.id, self.model, content, usage(finish), why.stop_reason, why.stop_sequence)

    def why(self, finish: Finish) -> wire.Stopped:
        if self.ended is None:
            raise AssertionError("a runner ends each choice before it finishes")
        match self.ended.reason:
            case "tool_calls":
                return wire.Stopped("tool_use", None)
            case "length" if finish.completion_tokens < self.max_tokens:
                return wire.Stopped("model_context_window_exceeded", None)
            case "length":
                return wire.Stopped("max_tokens", None)
            case "stop":
                return wire.Stopped("stop_sequence" if self.ended.stop else "end_turn", self.ended.stop)

    def begin(self, prompt_tokens: int) -> bytes:
        """What was kept of the prompt is known at the end alone; until then all of it counts as read."""
        return frame(wire.MessageStart(wire.Answer(self.id, self.model, [], wire.Usage(prompt_tokens, 0))))

    def frames(self, event: Event) -> Iterator[bytes]:
        match event:
            case Text(text=text) if text:
                yield from self.block(Text, wire.Text())
                yield self.delta(wire.TextDelta(text))
            case Reasoning(text=text) if text:
                yield from self.block(Reasoning, wire.Thought())
                yield self.delta(wire.ThinkingDelta(text))
            case ToolCall(call_id=str(id), name=str(name)):
                yield from self.close()
                yield from self.block(ToolCall, wire.ToolUse(id, name, msgspec.Raw(b"{}")))
                if event.arguments:
                    yield self.delta(wire.InputDelta(event.arguments))
            case ToolCall():
                yield self.delta(wire.InputDelta(event.arguments))
            case Ended():
                yield from self.close()
                self.ended = event
            case Finish():
                yield frame(wire.MessageDelta(self.why(event), usage(event)))
                yield frame(wire.MessageStop())

    def block(self, kind: type[Text | Reasoning | ToolCall], empty: wire.Answered) -> Iterator[bytes]:
        """Begin a block, unless it is the one that is open."""
        if self.open is not kind:
            yield from self.close()
            self.index, self.open = self.index + 1, kind
            yield frame(wire.BlockStart(self.index, empty))

    def close(self) -> Iterator[bytes]:
        if self.open:
            self.open = None
            yield frame(wire.BlockStop(self.index))

    def delta(self, delta: wire.TextDelta | wire.ThinkingDelta | wire.InputDelta) -> bytes:
        return frame(wire.BlockDelta(self.index, delta))


def usage(finish: Finish) -> wire.Usage:
    details = wire.OutputDetails(finish.reasoning_tokens)
    fresh = finish.prompt_tokens - finish.cached_tokens
    return wire.Usage(fresh, finish.completion_tokens, finish.cached_tokens, output_tokens_details=details)


def failed(error: Refusal) -> bytes:
    return b"event: error\ndata: " + encode(anthropic(error)) + b"\n\n"


def frame(event: msgspec.Struct) -> bytes:
    """One server-sent event, named by its type; JSON has no line break to take care of."""
    name = str(event.__struct_config__.tag).encode()
    return b"event: " + name + b"\ndata: " + encode(event) + b"\n\n"
