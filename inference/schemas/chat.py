"""`/v1/chat/completions` on the wire. Source: OpenAI's API reference, "Chat completions".

What comes in is pydantic and strict: a field that LMX does not honour is refused by its name.
What goes out is msgspec: it is encoded once for every token.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, UnsetType
from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from opta.strict import Strict


class TextPart(Strict):
    type: Literal["text"]
    text: str


def joined(value: object) -> object:
    """The parts of a message's content as one text, as chat templates take it."""
    if not isinstance(value, list):
        return value
    texts = []
    for position, part in enumerate(value):
        text = part.get("text") if isinstance(part, dict) and part.keys() == {"type", "text"} else None
        if not isinstance(text, str) or part["type"] != "text":
            raise ValueError(f"part {position} is not {{type: text, text: …}}, the only kind LMX reads")
        texts.append(text)
    return "".join(texts)


def listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


class Message(Strict):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Annotated[str, BeforeValidator(joined, json_schema_input_type=str | list[TextPart])]
    name: str | None = None
    tool_call_id: str | None = None

    @field_validator("content")
    @classmethod
    def user_says_something(cls, content: str, message: ValidationInfo) -> str:
        if message.data.get("role") == "user" and not content.strip():
            raise ValueError("it is empty; write what the model should answer")
        return content


StopStrings = Annotated[
    list[Annotated[str, Field(min_length=1)]],
    BeforeValidator(listed, json_schema_input_type=str | list[str]),
    Field(max_length=16),
]


class StreamOptions(Strict):
    include_usage: bool | None = None


class ChatRequest(Strict):
    """null means the default everywhere, and the default is the model's own where it has one."""

    model: str = Field("auto", description="an id of /v1/models, or auto")
    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1, lt=2**63)
    max_tokens: int | None = Field(
        None, ge=1, lt=2**63, description="the older name of max_completion_tokens"
    )
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    seed: int | None = Field(None, ge=-(2**63), lt=2**64)
    stop: StopStrings | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Literal[1] | None = None
    user: str | None = None

    @field_validator("max_tokens")
    @classmethod
    def named_once(cls, value: int | None, request: ValidationInfo) -> int | None:
        if value and request.data.get("max_completion_tokens"):
            raise ValueError("it is the older name of max_completion_tokens; send one of them")
        return value

    @field_validator("stream_options")
    @classmethod
    def streams(cls, value: StreamOptions | None, request: ValidationInfo) -> StreamOptions | None:
        if value and not request.data.get("stream"):
            raise ValueError("it needs stream: true")
        return value

    @property
    def wants_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)


class PromptDetails(msgspec.Struct):
    cached_tokens: int


class Usage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails


class Answer(msgspec.Struct):
    content: str
    role: str = "assistant"


class Choice(msgspec.Struct):
    message: Answer
    finish_reason: str
    index: int = 0
    logprobs: None = None


class ChatCompletion(msgspec.Struct):
    id: str
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    object: str = "chat.completion"


class Delta(msgspec.Struct, omit_defaults=True):
    content: str | UnsetType = UNSET
    role: str | UnsetType = UNSET


class ChunkChoice(msgspec.Struct):
    delta: Delta
    finish_reason: str | None = None
    index: int = 0
    logprobs: None = None


class ChatChunk(msgspec.Struct):
    """`usage` is left out, unless it was asked for: then null until the last chunk."""

    id: str
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | UnsetType | None = UNSET
    object: str = "chat.completion.chunk"
