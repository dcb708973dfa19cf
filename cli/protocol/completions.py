"""OpenAI's chat completions, as far as a turn of the daemon can be one: what is asked, what is answered.

Source: https://platform.openai.com/docs/api-reference/chat/create
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, model_validator

from cli.protocol.requests import Id
from opta.strict import Strict

LONGEST = 1_000_000
# What OpenAI's clients may send and a turn cannot do; it is refused instead of left out.
TOOLS = "The daemon runs its own tools, and no client's. Leave it out, or ask LMX, which runs none."
SAMPLING = "A turn samples as its model was made to. Leave it out, or ask LMX, which takes it."
REFUSED = {
    **dict.fromkeys(("tools", "tool_choice", "parallel_tool_calls", "functions", "function_call"), TOOLS),
    **dict.fromkeys(
        (
            "temperature", "top_p", "max_tokens", "max_completion_tokens", "stop", "seed", "logit_bias",
            "logprobs", "top_logprobs", "presence_penalty", "frequency_penalty", "response_format",
            "reasoning_effort", "prediction", "verbosity",
        ),
        SAMPLING,
    ),
}  # fmt: skip


class Part(Strict):
    """A piece of a message; text alone is taken."""

    type: Literal["text"]
    text: Annotated[str, Field(max_length=LONGEST)]


class Said(Strict):
    """One message of the conversation so far; a tool's are the daemon's own, and in its session."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, Field(max_length=LONGEST)] | list[Part]
    name: str | None = None

    @property
    def text(self) -> str:
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class StreamOptions(Strict):
    include_usage: bool = False


class Metadata(Strict):
    """Which session it is a turn of, or in which folder a new one works (the user's home by default)."""

    session: Id | None = None
    cwd: Annotated[str, Field(max_length=4096, pattern="^/")] | None = None


class ChatRequest(Strict):
    """`user` is taken and makes no difference: all that ask here are the user of this machine."""

    model: Annotated[str, Field(min_length=1, max_length=200)]
    messages: Annotated[list[Said], Field(min_length=1, max_length=10_000)]
    stream: bool = False
    stream_options: StreamOptions | None = None
    metadata: Metadata = Metadata()
    n: Literal[1] = 1
    user: str | None = None

    @model_validator(mode="before")
    @classmethod
    def says_what_it_cannot_do(cls, data: Any) -> Any:
        known = data if isinstance(data, dict) else {}
        if wrong := next((name for name in REFUSED if known.get(name) is not None), None):
            raise ValueError(f"{wrong}: {REFUSED[wrong]}")
        return {name: value for name, value in known.items() if name not in REFUSED} or data


class Model(BaseModel):
    """`created` is not known of a model on this machine's network."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "opta"


class Models(BaseModel):
    object: Literal["list"] = "list"
    data: list[Model]
