"""`/v1/embeddings` on the wire. Source: OpenAI's API reference, "Embeddings"."""

from typing import Annotated, Literal

import msgspec
from pydantic import BeforeValidator, Field, PlainValidator

from inference.request import Plain, Raw
from inference.schemas.accepted import Accepting

MOST_INPUTS = 2048
TOKEN_IDS = range(2**31)


def text_or_tokens(value: object) -> Plain | Raw:
    """By hand, because pydantic would name its own union in an error's path."""
    if isinstance(value, str):
        value.encode()  # half a character, which JSON can hold, is a ValueError
        return Plain(value)
    if isinstance(value, list) and all(type(token) is int and token in TOKEN_IDS for token in value):
        return Raw(value)
    raise ValueError("it is neither a text nor a list of token ids")


def listed(value: object) -> object:
    """One text, or the tokens of one, as a list of one."""
    tokens = isinstance(value, list) and value and isinstance(value[0], int)
    return [value] if isinstance(value, str) or tokens else value


Input = Annotated[Plain | Raw, PlainValidator(text_or_tokens, json_schema_input_type=str | list[int])]
Inputs = Annotated[
    list[Input],
    BeforeValidator(listed, json_schema_input_type=str | list[int] | list[str | list[int]]),
    Field(min_length=1, max_length=MOST_INPUTS),
]


class EmbeddingsRequest(Accepting):
    model: str = Field("auto", description="an id of /v1/models, or auto")
    input: Inputs = Field(description="one text or list of token ids, or a list of them")
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = Field(
        None, ge=1, lt=2**31, description="fewer than the model's own only where it declares so"
    )


class Embedding(msgspec.Struct):
    """`embedding` is base64 of little-endian float32 where that was asked for."""

    embedding: list[float] | str
    index: int
    object: str = "embedding"


class EmbeddingsUsage(msgspec.Struct):
    prompt_tokens: int
    total_tokens: int


class EmbeddingList(msgspec.Struct):
    data: list[Embedding]
    model: str
    usage: EmbeddingsUsage
    object: str = "list"
