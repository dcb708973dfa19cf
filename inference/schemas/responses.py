"""What `/v1/responses` takes. Source: OpenAI's API reference, "Responses"."""

from typing import Annotated, Any, Literal

import msgspec
from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    PlainValidator,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from inference import request
from inference.catalog import Defaults
from inference.request import AnyJson, Call, Chat, Generate, JsonSchema, Message
from inference.schemas.chat import Effort
from inference.schemas.responses_answer import Status
from inference.schemas.sampling import Count
from inference.schemas.tools import Function, JsonObject, Mode, Reasoned, distinct, offered
from opta.strict import Strict

LOGPROBS = "message.output_text.logprobs"


class ItemPart(Strict):
    type: Literal["input_text", "output_text"]
    text: str


def joined(value: object) -> object:
    """The parts of an item's content as one text; what else an answer's parts hold comes back with them."""
    if not isinstance(value, list):
        return value
    texts = []
    for position, part in enumerate(value):
        match part:
            case {"type": "input_text" | "output_text", "text": str(text)} if part.keys() <= PART:
                texts.append(text)
            case _:
                raise ValueError(
                    f"part {position} is not {{type: input_text, text: …}}, the only kind LMX reads"
                )
    return "".join(texts)


PART = {"type", "text", "annotations", "logprobs"}
Content = Annotated[str, BeforeValidator(joined, json_schema_input_type=str | list[ItemPart])]


class InputMessage(Strict):
    type: Literal["message"] = "message"
    id: str | None = None
    status: Status | None = None
    role: Literal["user", "system", "developer", "assistant"]
    content: Content

    @field_validator("content")
    @classmethod
    def user_says_something(cls, content: str, message: ValidationInfo) -> str:
        if message.data.get("role") == "user" and not content.strip():
            raise ValueError("it is empty; write what the model should answer")
        return content


class InputCall(Strict):
    type: Literal["function_call"]
    id: str | None = None
    status: Status | None = None
    call_id: str
    name: str
    arguments: str


class InputResult(Strict):
    type: Literal["function_call_output"]
    id: str | None = None
    status: Status | None = None
    call_id: str
    output: Content


class Thought(Strict):
    type: Literal["reasoning_text", "summary_text"]
    text: str


class InputReasoning(Strict):
    type: Literal["reasoning"]
    id: str | None = None
    status: Status | None = None
    summary: list[Thought] = []
    content: list[Thought] | None = None
    # Only OpenAI could read one.
    encrypted_content: None = None


def kind(value: Any) -> Any:
    return value.get("type", "message") if isinstance(value, dict) else "message"


Item = Annotated[
    Annotated[InputMessage, Tag("message")]
    | Annotated[InputCall, Tag("function_call")]
    | Annotated[InputResult, Tag("function_call_output")]
    | Annotated[InputReasoning, Tag("reasoning")],
    Discriminator(kind),
]


def items(value: object) -> object:
    return [{"role": "user", "content": value}] if isinstance(value, str) else value


class Typed(Strict):
    type: Literal["function"]


class ResponsesTool(Function, Typed):
    """The type is read first: what is no function is refused by it."""


class NamedTool(Strict):
    type: Literal["function"]
    name: str


def chosen(value: object) -> Mode | request.Function | None:
    match value:
        case None | "auto" | "none" | "required":
            return value
        case {"type": "function", "name": str(name), **rest} if not rest:
            return request.Function(name)
    raise ValueError("it is none of auto, none, required and {type: function, name: …}")


Choice = Annotated[
    Mode | request.Function | None, PlainValidator(chosen, json_schema_input_type=Mode | NamedTool | None)
]


class Format(Strict):
    type: Literal["text", "json_object", "json_schema"]
    name: str | None = Field(None, max_length=64)
    description: str | None = None
    schema_: JsonObject | None = Field(None, alias="schema")
    strict: bool | None = None

    @model_validator(mode="after")
    def agrees(self) -> "Format":
        if (self.type == "json_schema") != (self.schema_ is not None):
            raise ValueError("schema belongs to the type json_schema, and to no other")
        return self

    @property
    def held_to(self) -> JsonSchema | AnyJson | None:
        if self.schema_ is not None:
            return JsonSchema(self.schema_)
        return AnyJson() if self.type == "json_object" else None


class TextOptions(Strict):
    format: Format | None = None
    # As the model is.
    verbosity: Literal["medium"] | None = None


class ReasoningOptions(Strict):
    effort: Effort | None = None
    # As detailed as the model has them: LMX has none, and shows the reasoning itself.
    summary: Literal["auto"] | None = None


class ResponsesStream(Strict):
    include_obfuscation: Literal[False] | None = None


class ResponsesRequest(Reasoned):
    """null means the default everywhere, and the default is the model's own where it has one."""

    input: Annotated[list[Item], BeforeValidator(items, json_schema_input_type=str | list[Item])] = Field(
        min_length=1
    )
    instructions: str | None = Field(None, description="a system message for this answer alone")
    previous_response_id: str | None = None
    store: bool | None = Field(
        None, description="keep the answer, in memory and for a while; true by default"
    )
    max_output_tokens: Count | None = None
    tools: list[ResponsesTool] | None = Field(None, max_length=512)
    tool_choice: Choice = None
    text: TextOptions | None = None
    reasoning: ReasoningOptions | None = None
    include: list[Literal["message.output_text.logprobs", "reasoning.encrypted_content"]] | None = Field(
        None, description="reasoning comes as it is, not encrypted, and may be sent back so"
    )
    top_logprobs: int | None = Field(None, ge=0, le=20)
    metadata: dict[str, str] | None = Field(None, max_length=16)
    truncation: Literal["disabled"] | None = None
    background: Literal[False] | None = None
    stream_options: ResponsesStream | None = None

    @field_validator("tools")
    @classmethod
    def are_distinct(cls, tools: list[ResponsesTool] | None) -> list[ResponsesTool] | None:
        distinct([tool.tool for tool in tools or ()])
        return tools

    @field_validator("tool_choice")
    @classmethod
    def is_offered(cls, choice: Choice, request: ValidationInfo) -> Choice:
        offered(choice, [tool.tool for tool in request.data.get("tools") or ()])
        return choice

    @field_validator("top_logprobs")
    @classmethod
    def has_logprobs(cls, value: int | None, request: ValidationInfo) -> int | None:
        if value and LOGPROBS not in (request.data.get("include") or ()):
            raise ValueError(f"it needs {LOGPROBS} in include")
        return value

    @property
    def effort(self) -> Effort | None:
        return self.reasoning.effort if self.reasoning else None

    def conversation(self, before: list[Message]) -> list[Message]:
        """What was said, this time's input at the end; without the instructions."""
        found = list(before)
        for item in self.input:
            add(found, item)
        return found

    def generate(self, conversation: list[Message], defaults: Defaults) -> Generate:
        """The internal request: the client's fields, else the model's defaults."""
        system = [Message("system", self.instructions)] if self.instructions else []
        tools = [tool.tool for tool in self.tools or ()]
        return Generate(
            id=0,
            prompt=Chat([*system, *conversation], tools, self.variables(self.effort)),
            max_tokens=self.max_output_tokens or defaults.max_tokens,
            sampling=self.sampling(defaults),
            logprobs=(self.top_logprobs or 0) if LOGPROBS in (self.include or ()) else None,
            format=self.text.format.held_to if self.text and self.text.format else None,
            tool_choice=self.tool_choice or "auto",
            parallel_tool_calls=self.parallel_tool_calls is not False,
            thinking_budget=self.thinking_budget,
            context=self.num_ctx,
        )


def add(said: list[Message], item: InputMessage | InputCall | InputResult | InputReasoning) -> None:
    """Add an item; reasoning, text and calls in a row are one message of the assistant's."""
    last = said[-1] if said and said[-1].role == "assistant" else None
    match item:
        case InputMessage(role="assistant") if last and not last.content and not last.tool_calls:
            said[-1] = msgspec.structs.replace(last, content=item.content)
        case InputMessage():
            said.append(Message(item.role, item.content))
        case InputReasoning():
            thoughts = item.content if item.content is not None else item.summary
            said.append(Message("assistant", reasoning="".join(thought.text for thought in thoughts)))
        case InputCall():
            call = Call(item.call_id, item.name, item.arguments)
            if last:
                said[-1] = msgspec.structs.replace(last, tool_calls=[*last.tool_calls, call])
            else:
                said.append(Message("assistant", tool_calls=[call]))
        case InputResult():
            said.append(Message("tool", item.output, tool_call_id=item.call_id))
