"""What Ollama's `/api/chat`, `/api/generate` and `/api/embed` are asked. Source: Ollama's API reference.

A default is the model's own, or the one that Sampling has, not Ollama's.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainValidator, ValidationInfo, field_validator

from inference import request
from inference.catalog import Defaults
from inference.request import AnyJson, Call, Chat, Generate, JsonSchema, Plain, Prompt, Sampling
from inference.schemas.sampling import Count, StopStrings
from inference.schemas.tools import Arguments, FunctionTool, carried, distinct
from opta.strict import Strict

# As many tokens as the context holds; Ollama has both.
UNBOUNDED = (-1, -2)


def accepted(why: str) -> Any:
    """A field that Ollama's clients send and that cannot change an answer."""
    return Field(None, description=f"Accepted without effect. {why}")


class OllamaMachine(Strict):
    """ACCEPTED: how Ollama loads and computes, which LMX decides by itself."""

    num_keep: int | None = accepted("What to keep of a prompt that is cut; LMX cuts none.")
    num_batch: int | None = accepted("How many tokens of a prompt are read in one step.")
    num_thread: int | None = accepted("How many threads compute.")
    num_gpu: int | None = accepted("How many layers are on the GPU.")
    main_gpu: int | None = accepted("Which GPU holds what is small.")
    use_mmap: bool | None = accepted("Whether the file is mapped into memory.")
    use_mlock: bool | None = accepted("Whether memory is kept from being swapped out.")
    low_vram: bool | None = accepted("Whether to spare the GPU's memory.")
    numa: bool | None = accepted("Whether to mind which memory is near.")


class OllamaOptions(OllamaMachine):
    """A penalty is over the whole prompt and answer, which is what Ollama calls repeat_last_n: -1."""

    num_ctx: Count | None = Field(None, description="a smaller context than the model's own, in tokens")
    num_predict: int | None = Field(None, ge=-2, lt=2**31, description="-1 or -2 for what the context holds")
    temperature: float | None = Field(None, ge=0, le=2)
    top_k: int | None = Field(None, ge=0, lt=2**31, description="0 for all")
    top_p: float | None = Field(None, gt=0, le=1)
    min_p: float | None = Field(None, ge=0, le=1)
    seed: int | None = Field(None, ge=-1, lt=2**63 - 16, description="-1 for another one each time")
    stop: StopStrings | None = None
    repeat_penalty: float | None = Field(None, gt=0, le=10)
    repeat_last_n: Literal[-1] | None = None
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    # What LMX does not have may be told to be off.
    mirostat: Literal[0] | None = None
    tfs_z: float | None = Field(None, ge=1, le=1)
    typical_p: float | None = Field(None, ge=1, le=1)

    @field_validator("num_predict")
    @classmethod
    def predicts_something(cls, value: int | None) -> int | None:
        if value == 0:
            raise ValueError("0 tokens are no answer; leave the prompt empty to load the model alone")
        return value

    def sampling(self, defaults: Defaults) -> Sampling:
        given = self.model_dump(include=CHOICES, exclude_none=True)
        model = {"temperature": defaults.temperature, "top_p": defaults.top_p}
        return Sampling(
            **{**model, **given},
            repetition_penalty=self.repeat_penalty or 1.0,
            seed=None if self.seed == -1 else self.seed,
        )

    def max_tokens(self, defaults: Defaults) -> int | None:
        if self.num_predict in UNBOUNDED:
            return None
        return self.num_predict or defaults.max_tokens


# Of the same name here and there.
CHOICES = {"temperature", "top_k", "top_p", "min_p", "presence_penalty", "frequency_penalty"}


def held_to(value: object) -> JsonSchema | AnyJson | None:
    """By hand, because pydantic would name its own union in an error's path."""
    match value:
        case None | "":
            return None
        case "json":
            return AnyJson()
        case dict():
            return JsonSchema(carried(value))
    raise ValueError('it is neither "json" nor a JSON Schema')


def duration(value: object) -> object:
    if value is not None and (isinstance(value, bool) or not isinstance(value, str | int | float)):
        raise ValueError("it is neither a number of seconds nor a duration such as 5m")
    return value


Format = Annotated[
    JsonSchema | AnyJson | None,
    PlainValidator(held_to, json_schema_input_type=Literal["json", ""] | dict[str, Any] | None),
]
KeepAlive = Annotated[Any, PlainValidator(duration, json_schema_input_type=str | float | None)]
Think = bool | Literal["low", "medium", "high"]


def variables(think: Think | None) -> dict[str, Any]:
    """How templates are told to think, and how hard."""
    found: dict[str, Any] = {} if think is None else {"enable_thinking": bool(think)}
    return {**found, "reasoning_effort": think} if isinstance(think, str) else found


class OllamaAsked(Strict):
    """What a chat and a prompt have in common."""

    model: str = Field(min_length=1, description="an id of /v1/models, with or without :latest, or auto")
    options: OllamaOptions = OllamaOptions()
    format: Format = None
    stream: bool | None = Field(None, description="line by line, unless it is false")
    think: Think | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    keep_alive: KeepAlive = Field(None, description="Accepted; a model that was asked for stays loaded.")
    # LMX refuses a prompt beyond the context, and never cuts one.
    truncate: Literal[False] | None = None
    shift: Literal[False] | None = None

    @field_validator("options", mode="before")
    @classmethod
    def null_means_none(cls, value: object) -> object:
        return {} if value is None else value

    @field_validator("top_logprobs")
    @classmethod
    def has_logprobs(cls, value: int | None, request: ValidationInfo) -> int | None:
        if value and not request.data.get("logprobs"):
            raise ValueError("it needs logprobs: true")
        return value

    def generate(self, prompt: Prompt, defaults: Defaults) -> Generate:
        """The internal request: the client's fields, else the model's defaults."""
        return Generate(
            id=0,
            prompt=prompt,
            max_tokens=self.options.max_tokens(defaults),
            sampling=self.options.sampling(defaults),
            stop=self.options.stop or [],
            logprobs=(self.top_logprobs or 0) if self.logprobs else None,
            format=self.format,
            context=self.options.num_ctx,
        )


class OllamaFunction(Strict):
    name: str = Field(min_length=1)
    arguments: Arguments
    index: int | None = None


class OllamaCall(Strict):
    function: OllamaFunction
    id: str | None = None
    type: Literal["function"] | None = None


class OllamaMessage(Strict):
    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[OllamaCall] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None
    images: list[None] | None = Field(None, max_length=0, description="LMX reads no images")


def conversation(messages: Iterable[OllamaMessage]) -> list[request.Message]:
    """Ollama's clients give calls no ids, and a result goes to the oldest open call of its name."""
    found: list[request.Message] = []
    waiting: list[Call] = []
    for message in messages:
        calls = [call(made, len(found), number) for number, made in enumerate(message.tool_calls or ())]
        waiting += calls
        name, id = message.tool_name, message.tool_call_id
        if message.role == "tool" and (answered := next((c for c in waiting if of(c, name, id)), None)):
            waiting.remove(answered)
            name, id = answered.name, answered.id
        found.append(request.Message(message.role, message.content or "", name, message.thinking, calls, id))
    return found


def call(made: OllamaCall, message: int, number: int) -> Call:
    # Mistral's templates want nine characters.
    return Call(made.id or f"call{message:03}{number:02}", made.function.name, made.function.arguments)


def of(call: Call, name: str | None, id: str | None) -> bool:
    return call.id == id if id else name in (None, call.name)


class OllamaChat(OllamaAsked):
    """No messages at all loads the model; a last one of the assistant's is continued."""

    messages: list[OllamaMessage] = []
    tools: list[FunctionTool] | None = Field(None, max_length=512)

    @field_validator("tools")
    @classmethod
    def are_distinct(cls, tools: list[FunctionTool] | None) -> list[FunctionTool] | None:
        distinct([tool.function.tool for tool in tools or ()])
        return tools

    @property
    def prompt(self) -> Chat | None:
        if not self.messages:
            return None
        tools = [tool.function.tool for tool in self.tools or ()]
        last = self.messages[-1]
        begun = last.role == "assistant" and bool(last.content) and not last.tool_calls
        return Chat(conversation(self.messages), tools, variables(self.think), resume=begun)


class OllamaGenerate(OllamaAsked):
    """No prompt loads the model. What LMX does not do, such as filling in before a suffix, may be empty."""

    prompt_: str | None = Field(None, alias="prompt")
    system: str | None = None
    raw: bool | None = Field(None, description="the prompt as it is, without the model's template")
    suffix: Literal[""] | None = None
    template: Literal[""] | None = None
    context: list[None] | None = Field(None, max_length=0)
    images: list[None] | None = Field(None, max_length=0, description="LMX reads no images")

    @field_validator("raw")
    @classmethod
    def is_alone(cls, raw: bool | None, request: ValidationInfo) -> bool | None:
        if raw and request.data.get("system"):
            raise ValueError("a raw prompt has no place for system; write it into the prompt")
        if raw and request.data.get("think"):
            raise ValueError("a raw prompt has no template to think by; leave think out")
        return raw

    @property
    def prompt(self) -> Chat | Plain | None:
        if not self.prompt_:
            return None
        if self.raw:
            return Plain(self.prompt_)
        system = [request.Message("system", self.system)] if self.system else []
        return Chat([*system, request.Message("user", self.prompt_)], variables=variables(self.think))


def listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


class OllamaEmbed(Strict):
    model: str = Field(min_length=1)
    input: Annotated[list[str], BeforeValidator(listed, json_schema_input_type=str | list[str])] = Field(
        min_length=1, max_length=2048
    )
    dimensions: int | None = Field(
        None, ge=1, lt=2**31, description="fewer than the model's own only where it declares so"
    )
    truncate: bool | None = Field(None, description="cut what is too long; refused unless it is true")
    options: OllamaMachine | None = None
    keep_alive: KeepAlive = None


class OllamaEmbeddings(Strict):
    """The older way, one text at a time."""

    model: str = Field(min_length=1)
    prompt: str
    options: OllamaMachine | None = None
    keep_alive: KeepAlive = None


class OllamaShow(Strict):
    name: str | None = Field(None, description="what older clients call the model")
    model: str | None = Field(None, validate_default=True)
    verbose: Literal[False] | None = Field(None, description="tensors and tokens are not listed")

    @field_validator("model")
    @classmethod
    def is_named(cls, model: str | None, request: ValidationInfo) -> str | None:
        if not model and not request.data.get("name"):
            raise ValueError("it is missing; name one of /api/tags")
        return model

    @property
    def asked(self) -> str:
        return self.model or self.name or ""
