"""`/api/chat`, `/api/generate`, `/api/embed`: Ollama's dialect, a line of JSON at a time."""

import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from msgspec import UNSET
from ninja import Router

from inference.api import answers
from inference.api.chat import likely_token
from inference.api.dialect import answer, encode, moment
from inference.api.docs import responses
from inference.api.embeddings import floats, vectors
from inference.api.front import pool_of
from inference.catalog import CHAT, EMBED, Model
from inference.errors import ollama
from inference.inbox import Pause
from inference.pool import Pool
from inference.request import (
    Call,
    Chat,
    Ended,
    Event,
    Finish,
    Plain,
    Raw,
    Reasoning,
    Text,
    Tokenize,
    Tokens,
    ToolCall,
)
from inference.schemas import ollama_answer as wire
from inference.schemas.ollama import (
    OllamaAsked,
    OllamaChat,
    OllamaEmbed,
    OllamaEmbeddings,
    OllamaGenerate,
)
from opta.errors import Refusal

router = Router(tags=["Ollama"])
NDJSON = "application/x-ndjson"
# What `keep_alive` says for "unload it now".
AT_ONCE = (0, "0", "0s", "0m", "0h")


def described(line: type[wire.Line]) -> dict[str, Any]:
    return responses(line, line, wire.Error, NDJSON)


@router.post("/chat", summary="Chat", openapi_extra=described(wire.ChatLine))
async def chat(request: HttpRequest, wanted: OllamaChat) -> HttpResponse | StreamingHttpResponse:
    """Answers line by line, or whole with `stream: false`."""
    return await respond(request, wanted, wanted.prompt, chat_line)


@router.post("/generate", summary="Generate", openapi_extra=described(wire.GenerateLine))
async def generate(request: HttpRequest, wanted: OllamaGenerate) -> HttpResponse | StreamingHttpResponse:
    """Answers a prompt alone, line by line, or whole with `stream: false`."""
    return await respond(request, wanted, wanted.prompt, generate_line)


@router.post("/embed", summary="Embed", openapi_extra=responses(wire.Embeddings, error=wire.Error))
async def embed(request: HttpRequest, wanted: OllamaEmbed) -> HttpResponse:
    """One vector of length 1 for each input, in their order."""
    asked = time.perf_counter_ns()
    pool = pool_of(request)
    model = named(pool, wanted.model, EMBED)
    await pool.get(model)
    loaded = time.perf_counter_ns()
    inputs = [await cut(pool, model, text) if wanted.truncate else Plain(text) for text in wanted.input]
    found = await vectors(pool, model, inputs, wanted.dimensions)
    total = time.perf_counter_ns() - asked
    made = [floats(vector) for vector in found.vectors]
    return answer(wire.Embeddings(wanted.model, made, total, loaded - asked, found.prompt_tokens))


@router.post("/embeddings", summary="Embed one", openapi_extra=responses(wire.OneEmbedding, error=wire.Error))
async def embeddings(request: HttpRequest, wanted: OllamaEmbeddings) -> HttpResponse:
    """The older way to ask for one vector."""
    pool = pool_of(request)
    found = await vectors(pool, named(pool, wanted.model, EMBED), [Plain(wanted.prompt)], None)
    return answer(wire.OneEmbedding(floats(found.vectors[0])))


async def cut(pool: Pool, model: Model, text: str) -> Plain | Raw:
    """A text as far as the model reads; what its tokenizer ends every text with stays the end."""
    whole = await pool.ask(model, Tokenize(0, Plain(text)), Tokens)
    if len(whole.tokens) <= model.context:
        return Plain(text)
    nothing = await pool.ask(model, Tokenize(0, Plain("")), Tokens)
    end = nothing.tokens[-1:] if whole.tokens[-1:] == nothing.tokens[-1:] else []
    return Raw([*whole.tokens[: model.context - len(end)], *end])


def named(pool: Pool, name: str, kinds: tuple[str, ...] = CHAT) -> Model:
    """Ollama's clients say :latest where nothing else is said. Raises Refusal."""
    return pool.find(name.removesuffix(":latest"), kinds)


async def respond(
    request: HttpRequest, wanted: OllamaAsked, prompt: Chat | Plain | None, line: Callable[..., wire.Line]
) -> HttpResponse | StreamingHttpResponse:
    pool = pool_of(request)
    reply = Reply(wanted.model, line)
    model = named(pool, wanted.model)
    if prompt is None and wanted.keep_alive in AT_ONCE:
        raise Refusal("LMX does not unload a model when it is told so.", field="keep_alive")
    await pool.get(model)
    reply.loaded = time.perf_counter_ns()
    if prompt is None:
        return reply.load(wanted.stream is not False)
    _, events = await answers.ask(request, model, wanted.generate(prompt, model.defaults))
    reply.queued = time.perf_counter_ns()
    if wanted.stream is not False:
        return ndjson(reply.lines(events))
    (choice,), finish = await answers.gather(reply.timed(events))
    return answer(reply.whole(choice, finish))


@dataclass
class Reply:
    """One answer on its way out, whole or in lines, and when what of it happened (in nanoseconds)."""

    model: str
    line: Callable[..., wire.Line]
    asked: int = field(default_factory=time.perf_counter_ns)
    loaded: int = 0
    queued: int = 0
    first: int = 0

    def load(self, streaming: bool) -> HttpResponse:
        """The answer to no prompt."""
        line = self.say(done=True, done_reason="load")
        return HttpResponse(encode(line) + b"\n", content_type=NDJSON) if streaming else answer(line)

    def whole(self, choice: answers.Choice, finish: Finish) -> wire.Line:
        return self.say(
            choice.text,
            choice.reasoning,
            choice.calls,
            logprobs=[likely_token(one) for one in choice.logprobs] or UNSET,
            **self.figures(choice.reason, finish),
        )

    async def timed(self, events: answers.Events) -> answers.Events:
        """`events`, of which the first that answers is noted."""
        async with aclosing(events):
            async for event in events:
                if not self.first and isinstance(event, Text | Reasoning | ToolCall | Ended):
                    self.first = time.perf_counter_ns()
                yield event

    async def lines(self, events: answers.Events) -> AsyncIterator[bytes]:
        """What came together is written together."""
        choice, held = answers.Choice(), b""
        try:
            async with aclosing(self.timed(events)) as timed:
                async for event in timed:
                    if not isinstance(event, Pause):
                        held += b"".join(encode(line) + b"\n" for line in self.pieces(event, choice))
                    elif held:
                        yield held
                        held = b""
        except Refusal as error:
            held += encode(ollama(error)) + b"\n"
        yield held

    def pieces(self, event: Event, choice: answers.Choice) -> Iterator[wire.Line]:
        """Text as it comes; calls, which Ollama's clients want whole, at the end."""
        match event:
            case Text():
                logprobs = [likely_token(one) for one in event.logprobs]
                yield self.say(event.text, logprobs=logprobs or UNSET)
            case Reasoning():
                yield self.say(thinking=event.text)
            case ToolCall():
                choice.add(event)
            case Ended():
                choice.add(event)
                if choice.calls:
                    yield self.say(calls=choice.calls)
            case Finish():
                yield self.say(**self.figures(choice.reason, event))

    def say(self, text: str = "", thinking: str = "", calls: Sequence[Call] = (), **more: Any) -> wire.Line:
        now = moment(time.time())
        return self.line(text, thinking, calls, model=self.model, created_at=now, **more)

    def figures(self, reason: str | None, finish: Finish) -> dict[str, Any]:
        now = time.perf_counter_ns()
        return {
            "done": True,
            "done_reason": "length" if reason == "length" else "stop",
            "total_duration": now - self.asked,
            "load_duration": self.loaded - self.asked,
            "prompt_eval_count": finish.prompt_tokens,
            "prompt_eval_duration": self.first - self.queued,
            "eval_count": finish.completion_tokens,
            "eval_duration": now - self.first,
        }


def chat_line(text: str, thinking: str, calls: Sequence[Call], **more: Any) -> wire.Line:
    made = [
        wire.ToolCall(call.id, wire.Function(call.name, answers.arguments(call), index))
        for index, call in enumerate(calls)
    ]
    message = wire.Message(text, thinking=thinking or UNSET, tool_calls=made or UNSET)
    return wire.ChatLine(message=message, **more)


def generate_line(text: str, thinking: str, calls: Sequence[Call], **more: Any) -> wire.Line:
    return wire.GenerateLine(response=text, thinking=thinking or UNSET, **more)


def ndjson(lines: AsyncIterator[bytes]) -> StreamingHttpResponse:
    streamed = StreamingHttpResponse(lines, content_type=NDJSON)
    streamed["Cache-Control"] = "no-store"
    return streamed
