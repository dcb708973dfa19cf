"""What an answer may be besides text, in OpenAI's words: tools, the choice among them, and JSON.

Every choice of shape is parsed by hand where pydantic would name its own union in an error's path.
"""

from typing import Annotated, Any, Literal

import msgspec
from pydantic import AfterValidator, Field, PlainValidator, field_validator, model_validator
from pydantic_core import PydanticSerializationError, to_json

from inference import request
from inference.request import AnyJson, JsonSchema, Tool
from inference.schemas.accepted import Accepting
from inference.schemas.sampling import Sampled
from opta.strict import Strict

Mode = Literal["auto", "none", "required"]
# What transformers' apply_chat_template gives a template by itself, or takes as its own parameters.
RESERVED = frozenset(
    (
        *("messages", "conversation", "tools", "documents", "chat_template", "tokenize", "tokenizer_kwargs"),
        *("add_generation_prompt", "continue_final_message", "padding", "truncation", "max_length"),
        *("return_tensors", "return_dict", "return_assistant_tokens_mask", "bos_token", "eos_token", "self"),
    )
)
# As far as templates and grammars follow a nest; people's schemas have ten levels.
DEPTH = 64
NOTHING = {"type": "object", "properties": {}}


def carried(value: dict[str, Any]) -> dict[str, Any]:
    """JSON can hold what cannot be sent on: half a character, an integer beyond 64 bits, endless nesting."""
    try:
        msgspec.msgpack.encode(value)
    except (UnicodeEncodeError, OverflowError, RecursionError) as error:
        raise ValueError(f"it cannot be read: {error}") from None
    if deeper(value, DEPTH):
        raise ValueError(f"it is nested deeper than {DEPTH} levels")
    return value


def deeper(value: object, levels: int) -> bool:
    """Whether objects and lists are nested beyond so many levels."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(levels == 0 or deeper(one, levels - 1) for one in inside)


def written(value: object) -> str:
    """The JSON of a call's arguments. A model wrote them, so a number may be of any length."""
    if not isinstance(value, dict):
        raise ValueError("it is no object")
    if deeper(value, DEPTH):
        raise ValueError(f"it is nested deeper than {DEPTH} levels")
    try:
        return to_json(value, inf_nan_mode="null").decode()
    except PydanticSerializationError as error:
        raise ValueError(f"it cannot be read: {error}") from None


JsonObject = Annotated[dict[str, Any], AfterValidator(carried)]
Arguments = Annotated[str, PlainValidator(written, json_schema_input_type=dict[str, Any])]
# The same on its way out.
Written = Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema={"type": "object"})]
Name = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_.:/-]{1,128}$")]


class Function(Strict):
    name: Name
    description: str | None = None
    parameters: JsonObject | None = Field(None, description="a JSON Schema")
    strict: bool | None = Field(None, description="hold the arguments to the schema while they are generated")

    @property
    def tool(self) -> Tool:
        return Tool(self.name, self.description or "", self.parameters or NOTHING, bool(self.strict))


class FunctionTool(Strict):
    type: Literal["function"]
    function: Function


class FunctionName(Strict):
    name: str


class NamedFunction(Strict):
    type: Literal["function"]
    function: FunctionName


def chosen(value: object) -> Mode | request.Function | None:
    match value:
        case None | "auto" | "none" | "required":
            return value
        case {"type": "function", "function": {"name": str(name), **more}, **rest} if not more and not rest:
            return request.Function(name)
    raise ValueError("it is none of auto, none, required and {type: function, function: {name: …}}")


ToolChoice = Annotated[
    Mode | request.Function | None, PlainValidator(chosen, json_schema_input_type=Mode | NamedFunction | None)
]


class NamedSchema(Strict):
    """The name and the description are for people; the answer is held to the schema, strict or not."""

    name: str = Field(min_length=1, max_length=64)
    description: str | None = None
    schema_: JsonObject = Field(alias="schema")
    strict: bool | None = None


class ResponseFormat(Strict):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: NamedSchema | None = None

    @model_validator(mode="after")
    def agrees(self) -> "ResponseFormat":
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise ValueError("json_schema belongs to the type json_schema, and to no other")
        return self

    @property
    def held_to(self) -> JsonSchema | AnyJson | None:
        if self.json_schema:
            return JsonSchema(self.json_schema.schema_)
        return AnyJson() if self.type == "json_object" else None


def distinct(tools: list[Tool]) -> None:
    """Raises ValueError when a call's name could mean two of them."""
    names = [tool.name for tool in tools]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"{twice} is there twice; a call of it could mean either")


def offered(choice: Mode | request.Function | None, tools: list[Tool]) -> None:
    """Raises ValueError for a choice among tools that are not there."""
    if choice == "required" and not tools:
        raise ValueError("it is required, and there are no tools")
    if isinstance(choice, request.Function) and choice.name not in (tool.name for tool in tools):
        raise ValueError(f"{choice.name} is not among the tools")


class Templated(Accepting):
    """A request whose prompt is made by the model's chat template."""

    chat_template_kwargs: JsonObject | None = Field(None, description="variables of the model's own template")

    @field_validator("chat_template_kwargs")
    @classmethod
    def leaves_ours_alone(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        for name in value or {}:
            if name in RESERVED or not name.isidentifier():
                raise ValueError(f"{name!r} is no variable that a request may set")
        return value

    def variables(self, effort: str | None) -> dict[str, Any]:
        """What the template is given for an effort: one reads the word, another a switch."""
        given = self.chat_template_kwargs or {}
        return {"reasoning_effort": effort, "enable_thinking": effort != "none", **given} if effort else given


class Reasoned(Sampled, Templated):
    """Such a request for an answer."""

    parallel_tool_calls: bool | None = None
    thinking_budget: int | None = Field(
        None, ge=0, lt=2**31, description="tokens of reasoning after which it is closed"
    )
