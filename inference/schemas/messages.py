"""What `/v1/messages` is asked. Source: Anthropic's API reference, "Messages".

`cache_control` marks where Anthropic keeps a prompt; LMX keeps every prompt's beginning by itself, so
it is accepted wherever Anthropic has it, and changes nothing.
"""

from itertools import groupby
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from inference import request
from inference.catalog import Defaults
from inference.request import Call, Chat, Generate, JsonSchema, Sampling
from inference.schemas.sampling import MOST_STOPS, Count
from inference.schemas.tools import Arguments, JsonObject, distinct, offered
from opta.strict import Strict

MANY = 512


class CacheControl(Strict):
    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] | None = None
    scope: Literal["global"] | None = None


class Block(Strict):
    cache_control: CacheControl | None = None


class TextBlock(Block):
    type: Literal["text"]
    text: str
    citations: None = None


class ThinkingBlock(Strict):
    """Of an earlier answer; LMX signs none and checks none."""

    type: Literal["thinking"]
    thinking: str
    signature: str = ""


class RedactedThinkingBlock(Strict):
    """What only Anthropic can read; the model goes on without it."""

    type: Literal["redacted_thinking"]
    data: str


class ToolUseBlock(Block):
    type: Literal["tool_use"]
    id: str = Field(min_length=1)
    name: str = Field(min_length=1)
    input: Arguments
    caller: None = None
    toolset_name: None = None

    @property
    def call(self) -> Call:
        return Call(self.id, self.name, self.input)


def blocks(value: object) -> object:
    """A text alone is one block of text."""
    return [{"type": "text", "text": value}] if isinstance(value, str) else value


Texts = Annotated[list[TextBlock], BeforeValidator(blocks, json_schema_input_type=str | list[TextBlock])]


class ToolResultBlock(Block):
    """`is_error` is told to the model in words, for no template has a place for it."""

    type: Literal["tool_result"]
    tool_use_id: str
    content: Texts = []
    is_error: bool | None = None
    toolset_name: None = None

    @property
    def said(self) -> str:
        return f"Error: {joined(self.content)}" if self.is_error else joined(self.content)


AnyBlock = TextBlock | ThinkingBlock | RedactedThinkingBlock | ToolUseBlock | ToolResultBlock
Content = Annotated[
    list[Annotated[AnyBlock, Field(discriminator="type")]],
    BeforeValidator(blocks, json_schema_input_type=str | list[AnyBlock]),
]
# Which blocks a role may have.
SPOKEN: dict[str, tuple[type[Strict], ...]] = {
    "user": (TextBlock, ToolResultBlock),
    "assistant": (TextBlock, ThinkingBlock, RedactedThinkingBlock, ToolUseBlock),
    "system": (TextBlock,),
}


def joined(texts: list[TextBlock]) -> str:
    return "\n".join(block.text for block in texts)


def says_something(block: AnyBlock) -> bool:
    return bool(block.text.strip()) if isinstance(block, TextBlock) else isinstance(block, ToolResultBlock)


class AnthropicMessage(Strict):
    role: Literal["user", "assistant", "system"]
    content: Content

    @field_validator("content")
    @classmethod
    def is_of_its_role(cls, content: list[AnyBlock], message: ValidationInfo) -> list[AnyBlock]:
        role = message.data.get("role", "user")
        for block in content:
            if not isinstance(block, SPOKEN[role]):
                raise ValueError(f"a message of role {role} has no block of type {block.type}")
        if role == "user" and not any(map(says_something, content)):
            raise ValueError("it is empty; write what the model should answer")
        return content

    @property
    def begins(self) -> bool:
        """Whether it is an answer of which something is there to go on from."""
        return self.role == "assistant" and any(
            not isinstance(block, TextBlock) or block.text for block in self.content
        )


def conversation(messages: list[AnthropicMessage]) -> list[request.Message]:
    """Neighbours of one role are one turn; results of tools come before what the user says with them."""
    found: list[request.Message] = []
    names: dict[str, str] = {}
    for role, turns in groupby(messages, key=lambda message: message.role):
        said = [block for message in turns for block in message.content]
        texts = [block for block in said if isinstance(block, TextBlock)]
        calls = [block.call for block in said if isinstance(block, ToolUseBlock)]
        names |= {call.id: call.name for call in calls}
        results = [block for block in said if isinstance(block, ToolResultBlock)]
        for result in results:
            name, id = names.get(result.tool_use_id), result.tool_use_id
            found.append(request.Message("tool", result.said, name, tool_call_id=id))
        if texts or not results:
            thoughts = [block.thinking for block in said if isinstance(block, ThinkingBlock)]
            reasoning = "\n".join(thoughts) or None
            found.append(request.Message(role, joined(texts), reasoning=reasoning, tool_calls=calls))
    return found


class AnthropicTool(Block):
    """A tool of the client's; Anthropic's own, such as web search, have another type and run there alone."""

    name: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,128}$")
    input_schema: JsonObject
    description: str | None = None
    type: Literal["custom"] | None = None
    strict: bool | None = None
    eager_input_streaming: bool | None = Field(
        None, description="Accepted: inputs always stream as they come."
    )

    @property
    def offered(self) -> request.Tool:
        return request.Tool(self.name, self.description or "", self.input_schema, bool(self.strict))


class AnthropicToolChoice(Strict):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = Field(None, validate_default=True)
    disable_parallel_tool_use: bool | None = None

    @field_validator("name")
    @classmethod
    def names_the_tool(cls, name: str | None, choice: ValidationInfo) -> str | None:
        if (choice.data.get("type") == "tool") != (name is not None):
            raise ValueError("it belongs to the type tool, and to no other")
        return name

    @property
    def chosen(self) -> Literal["auto", "none", "required"] | request.Function:
        match self.type:
            case "any":
                return "required"
            case "tool":
                return request.Function(self.name or "")
            case "auto" | "none":
                return self.type


class Thinking(Strict):
    """`adaptive` leaves it to the model."""

    type: Literal["enabled", "disabled", "adaptive"]
    budget_tokens: Count | None = Field(None, validate_default=True)

    @field_validator("budget_tokens")
    @classmethod
    def belongs_to_enabled(cls, budget: int | None, thinking: ValidationInfo) -> int | None:
        if (thinking.data.get("type") == "enabled") != (budget is not None):
            raise ValueError("it belongs to the type enabled, and to no other")
        return budget


class OutputFormat(Strict):
    type: Literal["json_schema"]
    schema_: JsonObject = Field(alias="schema")


class OutputConfig(Strict):
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: OutputFormat | None = None


class KeptThinking(Strict):
    """Every thought of earlier turns is given to the template: LMX clears none by itself."""

    type: Literal["clear_thinking_20251015"]
    keep: Literal["all"]


class ContextManagement(Strict):
    edits: list[KeptThinking] | None = None


class CountRequest(Strict):
    """What of a request makes its prompt."""

    model: str = Field(min_length=1, description="an id of /v1/models, or auto")
    messages: list[AnthropicMessage] = Field(min_length=1)
    system: Texts = []
    tools: list[AnthropicTool] = Field([], max_length=MANY)
    tool_choice: AnthropicToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    cache_control: CacheControl | None = None
    context_management: ContextManagement | None = None

    @field_validator("messages")
    @classmethod
    def can_be_answered(cls, messages: list[AnthropicMessage]) -> list[AnthropicMessage]:
        """A result answers a call, and an answer that was begun goes on where its text breaks off."""
        called: set[str] = set()
        for block in (block for message in messages for block in message.content):
            if isinstance(block, ToolUseBlock):
                called.add(block.id)
            if isinstance(block, ToolResultBlock) and block.tool_use_id not in called:
                raise ValueError(f"tool_use_id {block.tool_use_id!r} is of no tool_use before it")
        last = messages[-1]
        if last.begins:
            end = last.content[-1]
            if not isinstance(end, TextBlock) or end.text != end.text.rstrip() or not end.text:
                raise ValueError("the last one is the assistant's, so it must end with text, without a space")
        return messages

    @field_validator("tools")
    @classmethod
    def are_distinct(cls, tools: list[AnthropicTool]) -> list[AnthropicTool]:
        distinct([tool.offered for tool in tools])
        return tools

    @field_validator("tool_choice")
    @classmethod
    def is_offered(
        cls, choice: AnthropicToolChoice | None, request: ValidationInfo
    ) -> AnthropicToolChoice | None:
        offered(choice.chosen if choice else None, [tool.offered for tool in request.data.get("tools", ())])
        return choice

    @field_validator("thinking")
    @classmethod
    def comes_first(cls, thinking: Thinking | None, request: ValidationInfo) -> Thinking | None:
        messages = request.data.get("messages")
        if messages and messages[-1].begins and thinking and thinking.type == "enabled":
            raise ValueError("an answer that was begun is past its thinking; leave one of them out")
        return thinking

    @property
    def prompt(self) -> Chat:
        system = [request.Message("system", joined(self.system))] if self.system else []
        tools = [tool.offered for tool in self.tools]
        last = self.messages[-1]
        # An answer of which nothing is there yet is the one that is asked for.
        said = self.messages[:-1] if last.role == "assistant" and not last.begins else self.messages
        return Chat([*system, *conversation(said)], tools, self.variables, resume=last.begins)

    @property
    def variables(self) -> dict[str, Any]:
        """How templates are told to think, and how hard."""
        found: dict[str, Any] = {}
        if self.thinking and self.thinking.type != "adaptive":
            found["enable_thinking"] = self.thinking.type == "enabled"
        if self.output_config and self.output_config.effort:
            found["reasoning_effort"] = self.output_config.effort
        return found


class AnthropicMetadata(Strict):
    user_id: str | None = None


class MessagesRequest(CountRequest):
    max_tokens: Count
    temperature: float | None = Field(None, ge=0, le=1)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=0, lt=2**31)
    stop_sequences: list[Annotated[str, Field(min_length=1, max_length=1024)]] = Field(
        [], max_length=MOST_STOPS
    )
    stream: bool | None = None
    metadata: AnthropicMetadata | None = Field(
        None, description="Accepted without effect. The client's own notes."
    )
    service_tier: Literal["auto", "standard_only"] | None = Field(
        None, description="Accepted without effect. Which of Anthropic's machines computes it."
    )

    def generate(self, defaults: Defaults) -> Generate:
        """The internal request: the client's fields, else the model's defaults."""
        choice = self.tool_choice
        format = self.output_config.format if self.output_config else None
        return Generate(
            id=0,
            prompt=self.prompt,
            max_tokens=self.max_tokens,
            sampling=Sampling(
                temperature=defaults.temperature if self.temperature is None else self.temperature,
                top_p=self.top_p or defaults.top_p,
                top_k=self.top_k or 0,
            ),
            stop=self.stop_sequences,
            format=JsonSchema(format.schema_) if format else None,
            tool_choice=choice.chosen if choice else "auto",
            parallel_tool_calls=not (choice and choice.disable_parallel_tool_use),
            thinking_budget=self.thinking.budget_tokens if self.thinking else None,
        )
