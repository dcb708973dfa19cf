"""Anthropic's chat wire. Source: Anthropic's API reference, "Messages" and "Streaming messages"."""

import re
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from json import JSONDecodeError, dumps, loads
from typing import Any

from pydantic import Field

from cli.clients.refusals import Envelope, Error, Refused, Wire, failure
from cli.clients.server import Card, Known, Server
from cli.clients.stream import ALIVE, Stream
from cli.protocol.events import Usage
from cli.protocol.failures import Failure
from cli.protocol.messages import Finish, Message, Piece, Progress, Reasoning, ToolCall

VERSION = "2023-06-01"
REASONS = {"max_tokens": "length", "model_context_window_exceeded": "length", "tool_use": "tool_calls"}
# Anthropic keeps a prompt's beginning only up to where it is asked to.
KEEP = {"cache_control": {"type": "ephemeral"}}
# What its errors are called here.
CODES = {
    "not_found_error": "model_not_found",
    "overloaded_error": "provider_busy",
    "rate_limit_error": "provider_busy",
}
KNOWN = {
    "message_start",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
    "message_stop",
}


class Counts(Wire):
    """`input_tokens` are those that were neither kept from before nor kept from now on."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None


class Block(Wire):
    """`input` is empty where it comes in deltas."""

    type: str = ""
    id: str = ""
    name: str = ""
    text: str = ""
    thinking: str = ""
    input: dict[str, Any] = Field(default_factory=dict)


class Delta(Wire):
    """Of a block, or of the message as a whole."""

    text: str = ""
    thinking: str = ""
    partial_json: str = ""
    stop_reason: str | None = None


class Start(Wire):
    model: str = ""
    usage: Counts = Counts()


class Event(Envelope):
    """Any event of the stream; the API may get new ones at any time."""

    type: str = ""


class Frame(Event):
    """One of KNOWN: `type` says which of the rest it has."""

    index: int = 0
    message: Start | None = None
    content_block: Block | None = None
    delta: Delta = Delta()
    usage: Counts = Counts()


class Model(Wire):
    id: str
    max_input_tokens: int | None = None


class Models(Wire):
    data: list[Model]
    has_more: bool = False
    last_id: str | None = None


class Anthropic(Server):
    """Anthropic, or a server that speaks its API; `url` may be given with /v1 at its end, or without."""

    def __init__(self, url: str, name: str, *, max_output_tokens: int = 8192, **options: Any) -> None:
        super().__init__(url.rstrip("/").removesuffix("/v1"), name, **options)
        self.max_output_tokens = max_output_tokens

    def credentials(self, secret: str) -> dict[str, str]:
        return {"x-api-key": secret}

    async def headers(self) -> dict[str, str]:
        return {"anthropic-version": VERSION, **await super().headers()}

    async def listing(self) -> list[Known]:
        found: list[Known] = []
        page: dict[str, str] = {"limit": "1000"}
        while True:
            answer = self.parse(Models, await self.fetch(f"{self.url}/v1/models", params=page))
            found += [Known(id=model.id, context=model.max_input_tokens) for model in answer.data]
            if not answer.has_more or not answer.last_id:
                return found
            page["after_id"] = answer.last_id

    async def chat(
        self, model: str, messages: Sequence[Message], tools: Sequence[dict[str, Any]], **options: Any
    ) -> AsyncGenerator[Piece, None]:
        body = {
            "max_tokens": self.max_output_tokens,
            "stream": True,
            **prompt(model, messages, tools),
            **translated(options),
        }
        answer = Assembly()
        async with self.answer("POST", f"{self.url}/v1/messages", json=body) as response:
            stream = Stream(self, response)
            async for frame in stream.frames():
                if isinstance(frame, Progress):
                    yield frame
                    continue
                if frame == b"[DONE]":  # some that speak this API end as OpenAI's does
                    break
                event = self.parse(Event, frame)
                if event.error:
                    raise refused(529, event.error)
                if event.type == "ping" and not stream.begun:
                    yield ALIVE
                if event.type not in KNOWN:
                    continue
                for piece in answer.take(self.parse(Frame, frame)):
                    yield piece
                stream.begun = answer.begun
                if event.type == "message_stop":
                    break
        if not answer.reason:
            raise Failure("upstream_truncated", f"The answer from {self.url} stopped before its end.")
        if answer.reason == "refusal":
            raise Failure("upstream_refused", f"{self.title} refused to go on with its answer.")
        for piece in answer.rest():
            yield piece

    async def card(self, model: str) -> Card:
        return (await super().card(model)).model_copy(update={"counts": True})

    async def count(self, model: str, messages: Sequence[Message], tools: Sequence[dict[str, Any]]) -> int:
        asked = prompt(model, messages, tools)
        said = await self.fetch(f"{self.url}/v1/messages/count_tokens", method="POST", json=asked)
        return self.parse(Counts, said).input_tokens or 0

    def refused(self, status: int, error: Error) -> Refused:
        return refused(status, error)


class Assembly:
    """What an answer amounts to besides its text: calls come in fragments, usage at both ends."""

    def __init__(self) -> None:
        self.calls: dict[int, tuple[Block, list[str]]] = {}
        self.counts: dict[str, int] = {}
        # Why it ended, in the API's words.
        self.reason = ""
        self.model = ""
        self.begun = False

    def take(self, event: Frame) -> Iterator[Piece]:
        """Add an event; yields the text and the thoughts in it."""
        self.count(event.message.usage if event.message else event.usage)
        match event.type:
            case "message_start" if event.message:
                self.model = event.message.model
            case "content_block_start" if event.content_block:
                self.begun = True
                if event.content_block.type == "tool_use":
                    self.calls[event.index] = (event.content_block, [])
                yield from said(event.content_block)
            case "content_block_delta":
                if event.index in self.calls:
                    self.calls[event.index][1].append(event.delta.partial_json)
                yield from said(event.delta)
            case "message_delta":
                self.reason = event.delta.stop_reason or self.reason
            case "message_stop":
                self.reason = self.reason or "end_turn"

    def count(self, counts: Counts) -> None:
        """The latest word on each number holds; the first event has some, the last but one the others."""
        self.counts |= counts.model_dump(exclude_none=True)

    def rest(self) -> Iterator[Piece]:
        for _, (block, written) in sorted(self.calls.items()):
            yield ToolCall(id=block.id, name=block.name, arguments="".join(written) or dumps(block.input))
        cached = self.counts.get("cache_read_input_tokens", 0)
        fresh = self.counts.get("input_tokens", 0) + self.counts.get("cache_creation_input_tokens", 0)
        usage = Usage(
            prompt_tokens=fresh + cached,
            completion_tokens=self.counts.get("output_tokens", 0),
            cached_tokens=cached,
        )
        reason = REASONS.get(self.reason, "stop")
        yield Finish.model_validate({"reason": reason, "usage": usage, "model": self.model})


def said(part: Block | Delta) -> Iterator[Piece]:
    if part.thinking:
        yield Reasoning(text=part.thinking)
    if part.text:
        yield part.text


def refused(status: int, error: Error) -> Refused:
    """Anthropic gives types and no codes; that a prompt is too long stands in the message alone."""
    if "prompt is too long" in error.message:
        return Refused(status, "context_length_exceeded", error.message)
    if error.type in CODES:
        return Refused(status, CODES[error.type], error.message)
    return failure(status, error)


def translated(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of OpenAI's request in Anthropic's words; the other API knows the rest by the same names."""
    found = dict(options)
    match found.pop("tool_choice", None):
        case "required":
            found["tool_choice"] = {"type": "any"}
        case str(choice):
            found["tool_choice"] = {"type": choice}
        case {"function": {"name": name}}:
            found["tool_choice"] = {"type": "tool", "name": name}
    match found.pop("response_format", None):
        case {"json_schema": {"schema": schema}}:
            found["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
    if (stop := found.pop("stop", None)) is not None:
        found["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    return found


def prompt(model: str, messages: Sequence[Message], tools: Sequence[dict[str, Any]]) -> dict[str, Any]:
    offers = {"tools": [offered(tool["function"]) for tool in tools]} if tools else {}
    return {"model": model, **conversation(messages), **offers}


def offered(function: dict[str, Any]) -> dict[str, Any]:
    """A tool, which comes in OpenAI's form, in Anthropic's."""
    return {
        "name": function["name"],
        "description": function.get("description", ""),
        "input_schema": function["parameters"],
    }


def conversation(messages: Sequence[Message]) -> dict[str, Any]:
    """The system prompt and the turns: neighbours of one role are one, as the API wants it.

    A system message further down is the user's side there: the API has one system prompt, at the front.
    """
    first = next((i for i, message in enumerate(messages) if message.role != "system"), len(messages))
    system = "\n\n".join(message.content for message in messages[:first])
    turns: list[dict[str, Any]] = []
    for message in messages[first:]:
        role = "assistant" if message.role == "assistant" else "user"
        if not (content := blocks(message)):
            continue  # the API takes no empty text
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += content
        else:
            turns.append({"role": role, "content": content})
    if turns:
        turns[-1]["content"][-1] |= KEEP
    said = {"system": [{"type": "text", "text": system, **KEEP}]} if system else {}
    return {**said, "messages": turns}


def blocks(message: Message) -> list[dict[str, Any]]:
    if message.call is not None:
        return [{"type": "tool_result", "tool_use_id": lawful(message.call), "content": message.content}]
    text = [{"type": "text", "text": message.content}] if message.content.strip() else []
    uses = [
        {"type": "tool_use", "id": lawful(call.id), "name": call.name, "input": written(call)}
        for call in message.calls
    ]
    return [*text, *uses]


def lawful(id: str) -> str:
    """A call's id as the API takes it: another server, which the session had before, may have made it."""
    return re.sub(r"[^a-zA-Z0-9_-]", "_", id)


def written(call: ToolCall) -> dict[str, Any]:
    """The arguments as an object, which the API insists on; what a model wrote wrongly is told as it is."""
    try:
        found = loads(call.arguments or "{}")
    except JSONDecodeError:
        found = None
    return found if isinstance(found, dict) else {"arguments": call.arguments}
