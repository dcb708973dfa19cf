"""OpenAI's chat wire, as most model servers speak it: each a little differently.

Source: OpenAI's API reference, "Chat completions" and "Streaming"; `reasoning_content` is DeepSeek's and
llama.cpp's word for what a model thinks, `reasoning` OpenRouter's and Ollama's, Mistral has both text and
thoughts in a list, and a server that does not know the model leaves its thoughts in the text.
"""

from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass
from json import dumps
from typing import Any
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field

from cli.clients.refusals import Envelope, Wire, midst
from cli.clients.server import Known, Server
from cli.clients.stream import Stream
from cli.clients.thoughts import Thoughts
from cli.protocol.events import Usage
from cli.protocol.failures import Failure
from cli.protocol.messages import Finish, Message, Piece, Progress, Reasoning, ToolCall

# Reasons for which an answer is none.
BROKEN_OFF = {
    "error": ("upstream_error", "broke off its answer"),
    "content_filter": ("upstream_refused", "withheld its answer, or the rest of it"),
}


class Function(Wire):
    """Some servers give the arguments as an object, and not as its text."""

    name: str = ""
    arguments: str | dict[str, Any] = ""

    @property
    def written(self) -> str:
        return self.arguments if isinstance(self.arguments, str) else dumps(self.arguments)


class CallPart(Wire):
    index: int | None = None
    id: str = ""
    function: Function = Function()


class Part(Wire):
    """A piece of Mistral's content: text, or a thought made of such pieces."""

    text: str = ""
    thinking: "str | list[Part]" = ""


class Delta(Wire):
    content: str | list[Part] = ""
    reasoning_content: str = ""
    reasoning: str = ""
    tool_calls: list[CallPart] = Field(default_factory=list)

    @property
    def text(self) -> str:
        return flat(self.content)

    @property
    def thought(self) -> str:
        parts = [] if isinstance(self.content, str) else self.content
        return self.reasoning_content or self.reasoning or "".join(flat(part.thinking) for part in parts)


class Choice(Wire):
    """`message` is what a server has in place of `delta` that says all at once."""

    delta: Delta = Field(default=Delta(), validation_alias=AliasChoices("delta", "message"))
    finish_reason: str | None = None


class Details(Wire):
    cached_tokens: int = 0


class Counts(Wire):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: Details = Details()


class Chunk(Envelope):
    """One frame of an answer; `error` alone when the server broke off."""

    model: str = ""
    choices: list[Choice] = Field(default_factory=list)
    usage: Counts | None = None


class Lmx(Wire):
    """What LMX says of a model beyond OpenAI's shape."""

    loaded: bool
    context: int
    size_bytes: int | None = None


class Model(Wire):
    """`context_length` is OpenRouter's word, `max_model_len` vLLM's."""

    id: str
    lmx: Lmx | None = None
    context_length: int | None = None
    max_model_len: int | None = None

    @property
    def known(self) -> Known:
        if self.lmx:
            return Known(id=self.id, **dict(self.lmx))
        return Known(id=self.id, context=self.context_length or self.max_model_len)


class Models(Wire):
    data: list[Model]


class OpenAI(Server):
    """A server whose `url` is the base that its makers give, such as https://openrouter.ai/api/v1."""

    def __init__(self, url: str, name: str, **options: Any) -> None:
        super().__init__(url, name, **options)
        self.base = self.url if urlsplit(self.url).path else f"{self.url}/v1"

    def credentials(self, secret: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {secret}"}

    async def listing(self) -> list[Known]:
        return [model.known for model in self.parse(Models, await self.fetch(f"{self.base}/models")).data]

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
                    answer.ended = True
                    break
                chunk = self.parse(Chunk, frame)
                if chunk.error:
                    raise midst(chunk.error)
                for piece in answer.take(chunk):
                    yield piece
                stream.begun = answer.begun
        if not answer.ended:
            raise Failure("upstream_truncated", f"The answer from {self.url} stopped before its end.")
        if why := BROKEN_OFF.get(answer.reason):
            code, what = why
            raise Failure(code, f"{self.title} {what} ({answer.reason}).")
        for piece in answer.rest():
            yield piece


class Assembly:
    """What an answer amounts to besides its text: calls come in fragments, usage in the last frame."""

    def __init__(self) -> None:
        self.calls: list[Fragments] = []
        self.thoughts = Thoughts()
        self.usage = Usage()
        self.reason = ""
        self.model = ""
        self.begun = self.ended = False

    def take(self, chunk: Chunk) -> Iterator[Piece]:
        """Add a frame; yields the text and the thoughts in it."""
        self.model = chunk.model or self.model
        for choice in chunk.choices[:1]:
            self.reason = choice.finish_reason or self.reason
            self.ended = self.ended or bool(self.reason)
            yield from self._say(choice.delta)
        if chunk.usage:
            self.usage = Usage(
                prompt_tokens=chunk.usage.prompt_tokens,
                completion_tokens=chunk.usage.completion_tokens,
                cached_tokens=chunk.usage.prompt_tokens_details.cached_tokens,
            )

    def rest(self) -> Iterator[Piece]:
        yield from self.thoughts.rest()
        for place, call in enumerate(sorted(self.calls, key=lambda call: call.index)):
            # Some servers give no id; a result needs one to belong to.
            yield ToolCall(id=call.id or f"call_{place}", name=call.name, arguments=call.arguments)
        reason = self.reason if self.reason in ("length", "tool_calls") else "stop"
        yield Finish.model_validate({"reason": reason, "usage": self.usage, "model": self.model})

    def _say(self, delta: Delta) -> Iterator[Piece]:
        for part in delta.tool_calls:
            self._call(part)
        self.begun = self.begun or bool(delta.thought or delta.text or delta.tool_calls)
        if delta.thought:
            yield Reasoning(text=delta.thought)
        if delta.text:
            yield from self.thoughts.feed(delta.text)

    def _call(self, part: CallPart) -> None:
        """Add a fragment to its call: by index, else by id, and what has neither is the last one's.

        A name under another id begins another call, also at the same index: some servers count none.
        """
        same = [call for call in self.calls if part.index in (None, call.index)]
        call = next((call for call in same if part.id and call.id == part.id), same[-1] if same else None)
        another = call and part.id and call.id not in ("", part.id) and part.function.name
        if call is None or another:
            call = Fragments(len(self.calls) if part.index is None else part.index)
            self.calls.append(call)
        call.id = call.id or part.id
        if part.function.name != call.name:  # some say it again with each fragment
            call.name += part.function.name
        call.arguments += part.function.written


@dataclass
class Fragments:
    """A call as far as it has come."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


def flat(content: str | list[Part]) -> str:
    return content if isinstance(content, str) else "".join(part.text for part in content)


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
