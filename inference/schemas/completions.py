"""`/v1/completions` on the wire. Source: OpenAI's API reference, "Completions (legacy)"."""

from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType
from pydantic import Field, PlainValidator, ValidationInfo, field_validator

from inference.catalog import Defaults
from inference.request import Generate, Plain, Raw
from inference.schemas.sampling import Count, StopStrings, Streamed
from inference.schemas.usage import Usage

LARGEST_TOKEN = 2**31 - 1
# Of all prompts together, as many as one request may ask for.
CHOICES = 128
# OpenAI's, for this endpoint alone.
MAX_TOKENS = 16


def prompts(value: object) -> list[Plain | Raw]:
    """A text, several texts, the tokens of one prompt, or those of several."""
    if isinstance(value, str):
        return [plain(value)]
    if not isinstance(value, list) or not value:
        raise ValueError("it is neither text nor tokens, nor a list of them")
    if all(isinstance(one, str) for one in value):
        return [plain(one) for one in value]
    if all(isinstance(one, list) for one in value):
        return [Raw(tokens(one)) for one in value]
    return [Raw(tokens(value))]


def plain(text: str) -> Plain:
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("it holds half a character")
    return Plain(text)


def tokens(values: list[object]) -> list[int]:
    found = [one for one in values if type(one) is int and 0 <= one <= LARGEST_TOKEN]
    if len(found) < len(values):
        raise ValueError("it is neither text nor tokens, nor a list of them")
    return found


Shape = (
    Annotated[str, Field(min_length=1)]
    | Annotated[list[str], Field(min_length=1)]
    | Annotated[list[Annotated[int, Field(ge=0, le=LARGEST_TOKEN)]], Field(min_length=1)]
    | Annotated[list[list[Annotated[int, Field(ge=0, le=LARGEST_TOKEN)]]], Field(min_length=1)]
)


class CompletionsRequest(Streamed):
    """null means the default everywhere, and the default is the model's own where it has one."""

    n: int | None = Field(None, ge=1, le=16)
    prompt: Annotated[list[Plain | Raw], PlainValidator(prompts, json_schema_input_type=Shape)]
    max_tokens: Count | None = Field(None, description=f"{MAX_TOKENS} when left out, as OpenAI has it")
    stop: StopStrings | None = None
    logprobs: int | None = Field(None, ge=0, le=20)
    echo: bool | None = Field(None, description="begin the answer with the prompt")
    best_of: int | None = Field(None, ge=1, le=16, description="n, and nothing else")
    suffix: str | None = Field(None, description="refused")

    @field_validator("prompt")
    @classmethod
    def is_not_too_many(cls, value: list[Plain | Raw], request: ValidationInfo) -> list[Plain | Raw]:
        if len(value) * (request.data.get("n") or 1) > CHOICES:
            raise ValueError(f"it asks for more than {CHOICES} answers at once")
        return value

    @field_validator("echo")
    @classmethod
    def echoes_no_scores(cls, value: bool | None, request: ValidationInfo) -> bool | None:
        if value and request.data.get("logprobs") is not None:
            raise ValueError("LMX has no log-probabilities of the prompt; leave out logprobs or echo")
        return value

    @field_validator("best_of")
    @classmethod
    def is_what_comes(cls, value: int | None, request: ValidationInfo) -> int | None:
        if value and value != (request.data.get("n") or 1):
            raise ValueError("LMX keeps no answer back: best_of must be n")
        return value

    @field_validator("suffix")
    @classmethod
    def is_absent(cls, value: str | None) -> str | None:
        if value:
            raise ValueError("LMX does not fill in the middle; leave it out")
        return value

    def generates(self, defaults: Defaults) -> list[Generate]:
        """One internal request for each prompt."""
        return [
            Generate(
                id=0,
                prompt=prompt,
                choices=self.n or 1,
                max_tokens=self.max_tokens or MAX_TOKENS,
                sampling=self.sampling(defaults),
                stop=self.stop or [],
                logprobs=self.logprobs,
                context=self.num_ctx,
            )
            for prompt in self.prompt
        ]


class CompletionLogprobs(msgspec.Struct):
    """`text_offset` is where each token begins in the choice's text, in characters."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]] | None
    text_offset: list[int]


class CompletionChoice(msgspec.Struct):
    text: str
    index: int
    finish_reason: str | None
    logprobs: CompletionLogprobs | None = None


class Completion(msgspec.Struct):
    """Whole, or one piece of a stream: `usage` is then null or left out until the last."""

    id: str
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: Usage | UnsetType | None = UNSET
    object: str = "text_completion"
