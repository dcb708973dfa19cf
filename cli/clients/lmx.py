"""LMX, or any OpenAI-compatible server, as the agent loop sees it: one answer at a time, streamed.

Source of the wire format: OpenAI's API reference, "Chat completions" and "Streaming".
"""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, Field, ValidationError

from cli.protocol.events import Usage
from cli.protocol.failures import HINTS, LMX_UNREACHABLE, Failure
from cli.protocol.messages import Finish, Message, Piece, ToolCall

Body = TypeVar("Body", bound=BaseModel)

# Connecting is quick or hopeless. Reading waits for as long as the server holds the connection: a
# large model on a small machine takes minutes to its first token, and asking again starts from zero.
TIMEOUT = httpx.Timeout(None, connect=5)


class Function(BaseModel):
    name: str | None = None
    arguments: str | None = None


class CallPart(BaseModel):
    index: int = 0
    id: str | None = None
    function: Function = Function()


class Delta(BaseModel):
    content: str | None = None
    tool_calls: list[CallPart] | None = None


class Choice(BaseModel):
    delta: Delta = Delta()
    finish_reason: str | None = None


class Details(BaseModel):
    cached_tokens: int | None = None


class Counts(BaseModel):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: Details | None = None


class Error(BaseModel):
    message: str
    code: str | int | None = None


class Chunk(BaseModel):
    """One frame of a streamed answer; `error` alone when the server broke off."""

    model: str = ""
    choices: list[Choice] = Field(default_factory=list)
    usage: Counts | None = None
    error: Error | None = None


class Refused(BaseModel):
    error: Error


class Model(BaseModel):
    id: str


class Models(BaseModel):
    data: list[Model]


class LMX:
    """A server at `url`. Every method raises Failure with a code of `cli.protocol.failures`."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/").removesuffix("/v1")
        limits = httpx.Limits(max_connections=None)
        # trust_env: a proxy has no say over where prompts go.
        self.http = httpx.AsyncClient(timeout=TIMEOUT, limits=limits, trust_env=False)

    async def models(self) -> list[str]:
        """The ids of the models there are."""
        async with self._answer("GET", "/v1/models") as response:
            return [model.id for model in parse(Models, await response.aread(), self.url).data]

    async def chat(
        self, model: str, messages: Sequence[Message], tools: Sequence[dict[str, Any]]
    ) -> AsyncGenerator[Piece, None]:
        """One answer, piece by piece. Closing it hangs up, and the server stops generating."""
        body = {
            "model": model,
            "messages": [wire(message) for message in messages],
            "stream": True,
            "stream_options": {"include_usage": True},
            **({"tools": list(tools)} if tools else {}),
        }
        answer = Assembly()
        async with self._answer("POST", "/v1/chat/completions", json=body) as response:
            async for data in frames(response.aiter_bytes()):
                if data == b"[DONE]":
                    break
                chunk = parse(Chunk, data, self.url)
                if chunk.error:
                    raise failure(500, chunk.error)
                for text in answer.take(chunk):
                    yield text
        if answer.reason is None:
            raise Failure("upstream_truncated", f"The answer from {self.url} stopped before its end.")
        for piece in answer.rest():
            yield piece

    async def close(self) -> None:
        await self.http.aclose()

    @asynccontextmanager
    async def _answer(self, method: str, path: str, **request: Any) -> AsyncIterator[httpx.Response]:
        """The response, once its status is 200; what goes wrong then and later becomes a Failure."""
        try:
            async with self.http.stream(method, self.url + path, **request) as response:
                if response.status_code != httpx.codes.OK:
                    raise refusal(response.status_code, await response.aread(), self.url)
                yield response
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            what = str(error) or "it did not answer within 5 s"
            raise Failure(LMX_UNREACHABLE, f"LMX cannot be reached at {self.url}: {what}.") from error
        except httpx.TransportError as error:
            message = f"The connection to {self.url} broke before the end of the answer: {error}."
            raise Failure("upstream_truncated", message) from error


class Assembly:
    """What an answer amounts to besides its text: calls come in fragments, usage in the last frame."""

    def __init__(self) -> None:
        self.calls: dict[int, dict[str, str]] = {}
        self.usage = Usage()
        self.reason: str | None = None
        self.model = ""

    def take(self, chunk: Chunk) -> Iterator[str]:
        """Add a frame; yields the text in it."""
        self.model = chunk.model or self.model
        for choice in chunk.choices[:1]:
            self.reason = choice.finish_reason or self.reason
            for part in choice.delta.tool_calls or ():
                self._call(part)
            if choice.delta.content:
                yield choice.delta.content
        if chunk.usage:
            cached = chunk.usage.prompt_tokens_details
            self.usage = Usage(
                prompt_tokens=chunk.usage.prompt_tokens,
                completion_tokens=chunk.usage.completion_tokens,
                cached_tokens=(cached.cached_tokens or 0) if cached else 0,
            )

    def rest(self) -> Iterator[Piece]:
        for index, call in sorted(self.calls.items()):
            # Some servers give no id; a result needs one to belong to.
            yield ToolCall(**{**call, "id": call["id"] or f"call_{index}"})
        reason = self.reason if self.reason in ("length", "tool_calls") else "stop"
        yield Finish.model_validate({"reason": reason, "usage": self.usage, "model": self.model})

    def _call(self, part: CallPart) -> None:
        call = self.calls.setdefault(part.index, {"id": "", "name": "", "arguments": ""})
        call["id"] = part.id or call["id"]
        call["name"] += part.function.name or ""
        call["arguments"] += part.function.arguments or ""


async def frames(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The data of each server-sent event.

    Split at \\n alone: text may hold U+2028 or U+0085, at which `aiter_lines` would tear a frame.
    """
    rest, data = b"", []
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            line = line.rstrip(b"\r")
            if line.startswith(b"data:"):
                data.append(line.removeprefix(b"data:").removeprefix(b" "))
            elif not line and data:
                yield b"\n".join(data)
                data = []


def wire(message: Message) -> dict[str, Any]:
    said: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.calls:
        said["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.calls
        ]
    if message.call:
        said["tool_call_id"] = message.call
    return said


def parse(kind: type[Body], data: bytes, url: str) -> Body:
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        message = f"{url} answered what is no {kind.__name__} of the OpenAI API: {data[:200]!r}."
        raise Failure("upstream_error", message) from error


def refusal(status: int, body: bytes, url: str) -> Failure:
    """An answer that is not 200 as a Failure, also when it is not in OpenAI's envelope."""
    try:
        return failure(status, Refused.model_validate_json(body).error)
    except ValidationError:
        text = body[:200].decode(errors="replace")
        return failure(status, Error(message=f"{url} answered {status}: {text!r}."))


def failure(status: int, error: Error) -> Failure:
    if isinstance(error.code, str) and error.code in HINTS:
        return Failure(error.code, error.message)
    return Failure("upstream_error" if status >= 500 else "upstream_refused", error.message)
