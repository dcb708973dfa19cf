"""`/v1/chat/completions` on the wire. Source: OpenAI's API reference, "Chat completions".

What comes in is pydantic and strict: a field that LMX does not honour is refused by its name.
What goes out is msgspec: it is encoded once for every token.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, UnsetType
from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from inference import request
from inference.catalog import Defaults
from inference.request import Call, Chat, Generate
from inference.schemas.sampling import Count, StopStrings, Streamed
from inference.schemas.tools import FunctionTool, Reasoned, ResponseFormat, ToolChoice, distinct, offered
from inference.schemas.usage import Usage
from opta.strict import Strict

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh"]


class TextPart(Strict):
    """`cache_control` is where others than OpenAI keep a prompt; LMX keeps every prompt's beginning."""

    type: Literal["text"]
    text: str
    cache_control: dict[str, str] | None = None


def joined(value: object) -> object:
    """The parts of a message's content as one text, as chat templates take it."""
    if not isinstance(value, list):
        return value
    texts = []
    for position, part in enumerate(value):
        match part:
            case {"type": "text", "text": str(text)} if part.keys() <= PART:
                texts.append(text)
            case _:
                raise ValueError(f"part {position} is not {{type: text, text: …}}, the only kind LMX reads")
    return "".join(texts)


PART = set(TextPart.model_fields)
Content = Annotated[str, BeforeValidator(joined, json_schema_input_type=str | list[TextPart])]


class CalledFunction(Strict):
    name: str
    arguments: str


class ToolCall(Strict):
    """A call of an earlier answer; `index` comes from clients that put a stream's pieces together."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction
    index: int | None = None


class Message(Strict):
    """What an assistant's message of an answer holds besides may come back with it, empty as it was."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    name: str | None = None
    tool_call_id: str | None = None
    tool_calls: list[ToolCall] | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    annotations: list[None] | None = Field(None, max_length=0)
    audio: None = None
    function_call: None = None
    content: Content | None = Field(None, validate_default=True)

    @field_validator("tool_calls", "reasoning_content", "refusal")
    @classmethod
    def is_the_assistants(cls, value: object, message: ValidationInfo) -> object:
        if value and message.data.get("role") != "assistant":
            raise ValueError("only an assistant's message has that")
        return value

    @field_validator("tool_call_id")
    @classmethod
    def is_a_results(cls, value: str | None, message: ValidationInfo) -> str | None:
        if value and message.data.get("role") != "tool":
            raise ValueError("only a tool's message has that")
        return value

    @field_validator("content")
    @classmethod
    def something_is_said(cls, content: str | None, message: ValidationInfo) -> str | None:
        said = message.data
        if said.get("role") == "user" and not (content or "").strip():
            raise ValueError("it is empty; write what the model should answer")
        if content is None and not said.get("tool_calls") and said.get("refusal") is None:
            raise ValueError("it is missing; only an assistant's message with tool_calls may have none")
        return content

    @property
    def said(self) -> request.Message:
        calls = [Call(call.id, call.function.name, call.function.arguments) for call in self.tool_calls or ()]
        content = self.content if self.content is not None else self.refusal or ""
        return request.Message(
            self.role, content, self.name, self.reasoning_content, calls, self.tool_call_id
        )


class ChatRequest(Reasoned, Streamed):
    """null means the default everywhere, and the default is the model's own where it has one."""

    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: Count | None = None
    max_tokens: Count | None = Field(None, description="the older name of max_completion_tokens")
    n: int | None = Field(None, ge=1, le=16)
    stop: StopStrings | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    tools: list[FunctionTool] | None = Field(None, max_length=512)
    tool_choice: ToolChoice = None
    response_format: ResponseFormat | None = None
    reasoning_effort: Effort | None = None
    modalities: list[Literal["text"]] | None = None

    @field_validator("max_tokens")
    @classmethod
    def named_once(cls, value: int | None, request: ValidationInfo) -> int | None:
        if value and request.data.get("max_completion_tokens"):
            raise ValueError("it is the older name of max_completion_tokens; send one of them")
        return value

    @field_validator("top_logprobs")
    @classmethod
    def has_logprobs(cls, value: int | None, request: ValidationInfo) -> int | None:
        if value is not None and not request.data.get("logprobs"):
            raise ValueError("it needs logprobs: true")
        return value

    @field_validator("tools")
    @classmethod
    def are_distinct(cls, tools: list[FunctionTool] | None) -> list[FunctionTool] | None:
        distinct([tool.function.tool for tool in tools or ()])
        return tools

    @field_validator("tool_choice")
    @classmethod
    def is_offered(cls, choice: ToolChoice, request: ValidationInfo) -> ToolChoice:
        offered(choice, [tool.function.tool for tool in request.data.get("tools") or ()])
        return choice

    def generate(self, defaults: Defaults) -> Generate:
        """The internal request: the client's fields, else the model's defaults."""
        tools = [tool.function.tool for tool in self.tools or ()]
        return Generate(
            id=0,
            prompt=Chat([one.said for one in self.messages], tools, self.variables(self.reasoning_effort)),
            choices=self.n or 1,
            max_tokens=self.max_completion_tokens or self.max_tokens or defaults.max_tokens,
            sampling=self.sampling(defaults),
            stop=self.stop or [],
            logprobs=(self.top_logprobs or 0) if self.logprobs else None,
            format=self.response_format.held_to if self.response_format else None,
            tool_choice=self.tool_choice or "auto",
            parallel_tool_calls=self.parallel_tool_calls is not False,
            thinking_budget=self.thinking_budget,
            context=self.num_ctx,
        )


class CallFunction(msgspec.Struct, omit_defaults=True):
    arguments: str
    name: str | UnsetType = UNSET


class MadeCall(msgspec.Struct):
    id: str
    function: CallFunction
    type: str = "function"


class CallPiece(msgspec.Struct, omit_defaults=True):
    """A call begins with its id and name; its arguments follow in pieces."""

    index: int
    function: CallFunction
    id: str | UnsetType = UNSET
    type: str | UnsetType = UNSET


class Answer(msgspec.Struct):
    """`content` is null when there are calls alone; reasoning and calls are left out when there are none."""

    content: str | None
    role: str = "assistant"
    refusal: None = None
    reasoning_content: str | UnsetType = UNSET
    tool_calls: list[MadeCall] | UnsetType = UNSET


class Likely(msgspec.Struct):
    """A token with its log-probability; the text of a part of a character is U+FFFD."""

    token: str
    logprob: float
    bytes: list[int]


class LikelyToken(Likely):
    top_logprobs: list[Likely] = []


class Logprobs(msgspec.Struct):
    content: list[LikelyToken]
    refusal: None = None


class Choice(msgspec.Struct):
    message: Answer
    finish_reason: str
    index: int = 0
    logprobs: Logprobs | None = None


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
    reasoning_content: str | UnsetType = UNSET
    tool_calls: list[CallPiece] | UnsetType = UNSET


class ChunkChoice(msgspec.Struct):
    delta: Delta
    finish_reason: str | None = None
    index: int = 0
    logprobs: Logprobs | None = None


class ChatChunk(msgspec.Struct):
    """`usage` is left out, unless it was asked for: then null until the last chunk."""

    id: str
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | UnsetType | None = UNSET
    object: str = "chat.completion.chunk"
