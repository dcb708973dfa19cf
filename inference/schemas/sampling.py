"""How an answer's tokens are chosen and counted: the fields that OpenAI's three dialects have in common."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from inference.catalog import Defaults
from inference.request import Sampling
from inference.schemas.accepted import Accepting
from opta.strict import Strict

# Token ids are JSON object keys, and so text.
TokenId = Annotated[str, Field(pattern=r"^[0-9]{1,9}$")]
Bias = Annotated[float, Field(ge=-100, le=100)]
# An engine adds the choice's number to it.
Seed = Annotated[int, Field(ge=-(2**63), lt=2**63 - 16)]
# Editors that complete code send a language's keywords besides the markers of every model.
MOST_STOPS = 64
Count = Annotated[int, Field(ge=1, lt=2**31)]


def listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


StopStrings = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=1024)]],
    BeforeValidator(listed, json_schema_input_type=str | list[str]),
    Field(max_length=MOST_STOPS),
]


class StreamOptions(Strict):
    include_usage: bool | None = None
    # Random padding, against whoever measures encrypted traffic.
    include_obfuscation: Literal[False] | None = None


class Sampled(Accepting):
    """null means the default everywhere, and the default is the model's own where it has one."""

    model: str = Field("auto", description="an id of /v1/models, or auto")
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=0, lt=2**31, description="0 for all")
    min_p: float | None = Field(None, ge=0, le=1)
    repetition_penalty: float | None = Field(None, gt=0, le=10)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    logit_bias: dict[TokenId, Bias] | None = Field(None, description="token id to what is added to its score")
    seed: Seed | None = None
    stream: bool | None = None
    num_ctx: Count | None = Field(None, description="a smaller context than the model's own, in tokens")

    def sampling(self, defaults: Defaults) -> Sampling:
        """The client's choices, else the model's."""
        given = self.model_dump(include=CHOICES, exclude_none=True)
        model = {"temperature": defaults.temperature, "top_p": defaults.top_p}
        bias = {int(token): value for token, value in (self.logit_bias or {}).items()}
        return Sampling(**{**model, **given}, logit_bias=bias)


class Streamed(Sampled):
    """One whose stream may end with the counts."""

    stream_options: StreamOptions | None = None

    @field_validator("stream_options")
    @classmethod
    def streams(cls, options: StreamOptions | None, request: ValidationInfo) -> StreamOptions | None:
        if options and not request.data.get("stream"):
            raise ValueError("it needs stream: true")
        return options

    @property
    def wants_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)


# Of the same name here and there.
CHOICES = set(Sampling.__struct_fields__) - {"logit_bias"}
