"""OpenAI's chat wire, as most model servers speak it.

Source: OpenAI's API reference, "Chat completions" and "Streaming"; `reasoning_content` is DeepSeek's and
llama.cpp's word for what a model thinks, `reasoning` OpenRouter's and Ollama's.
"""

from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, Field

from cli.clients.server import Error, Known, Server, Stream, failure
from cli.protocol.events import Usage
from cli.protocol.failures import Failure
from cli.protocol.messages import Finish, Message, Piece, Progress, Reasoning, ToolCall


class Function(BaseModel):
    name: str | None = None
    arguments: str | None = None


class CallPart(BaseModel):
    index: int = 0
    id: str | None = None
    function: Function = Function()


class Delta(BaseModel):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
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


class Chunk(BaseModel):
    """One frame of a streamed answer; `error` alone when the server broke off."""

    model: str = ""
    choices: list[Choice] = Field(default_factory=list)
    usage: Counts | None = None
    error: Error | None = None


class Lmx(BaseModel):
    """What LMX says of a model beyond OpenAI's shape."""

    loaded: bool
    context: int


class Model(BaseModel):
    """`context_length` is OpenRouter's word, `max_model_len` vLLM's."""

    id: str
    lmx: Lmx | None = None
    context_length: int | None = None
    max_model_len: int | None = None

    @property
    def known(self) -> Known:
        context = self.lmx.context if self.lmx else self.context_length or self.max_model_len
        return Known(id=self.id, context=context, loaded=self.lmx.loaded if self.lmx else None)


class Models(BaseModel):
    data: list[Model]


class OpenAI(Server):
    """A server whose `url` is the base that its makers give, such as https://openrouter.ai/api/v1."""

    def __init__(self, url: str, name: str, **options: Any) -> None:
        super().__init__(url, name, **options)
        self.base = self.url if urlsplit(self.url).path else f"{self.url}/v1"

    def credentials(self, secret: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {secret}"}

    async def listing(self) -> list[Known]:
        return [model.known for model in self.parse(Models, await self.get(f"{self.base}/models")).data]

    async def chat(
        self, model: str, messages: Sequence[Message], tools: Sequence[dict[str, Any]], **options: Any
    ) -> AsyncGenerator[Piece, None]:
        body = {
            "model": model,
            "messages": [wire(message) for message in messages],
            "stream": True,
            "stream_options": {"include_usage": True},
            **({"tools": list(tools)} if tools else {}),
            **options,
        }
        answer = Assembly()
        async with self.answer("POST", f"{self.base}/chat/completions", json=body) as response:
            stream = Stream(self, response)
            async for frame in stream.frames():
                if isinstance(frame, Progress):
                    yield frame
                    continue
                if frame == b"[DONE]":
                    break
                chunk = self.parse(Chunk, frame)
                if chunk.error:
                    raise failure(500, chunk.error)
                for piece in answer.take(chunk):
                    yield piece
                stream.begun = answer.begun
        if answer.reason is None:
            raise Failure("upstream_truncated", f"The answer from {self.url} stopped before its end.")
        for piece in answer.rest():
            yield piece


class Assembly:
    """What an answer amounts to besides its text: calls come in fragments, usage in the last frame."""

    def __init__(self) -> None:
        self.calls: dict[int, dict[str, str]] = {}
        self.usage = Usage()
        self.reason: str | None = None
        self.model = ""
        self.begun = False

    def take(self, chunk: Chunk) -> Iterator[Piece]:
        """Add a frame; yields the text and the thoughts in it."""
        self.model = chunk.model or self.model
        for choice in chunk.choices[:1]:
            self.reason = choice.finish_reason or self.reason
            yield from self._say(choice.delta)
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

    def _say(self, delta: Delta) -> Iterator[Piece]:
        for part in delta.tool_calls or ():
            self._call(part)
        thought = delta.reasoning_content or delta.reasoning
        self.begun = self.begun or bool(thought or delta.content or delta.tool_calls)
        if thought:
            yield Reasoning(text=thought)
        if delta.content:
            yield delta.content

    def _call(self, part: CallPart) -> None:
        call = self.calls.setdefault(part.index, {"id": "", "name": "", "arguments": ""})
        call["id"] = part.id or call["id"]
        call["name"] += part.function.name or ""
        call["arguments"] += part.function.arguments or ""


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
