"""`/v1/rerank` on the wire. Source: Jina's and Cohere's API references, "Rerank"."""

from typing import Annotated

import msgspec
from pydantic import Field, PlainValidator

from inference.schemas.accepted import Accepting
from opta.strict import Strict

MOST_DOCUMENTS = 1024


class TextDocument(Strict):
    text: str


def text(value: object) -> str:
    """By hand, because pydantic would name its own union in an error's path."""
    found = value["text"] if isinstance(value, dict) and value.keys() == {"text"} else value
    if not isinstance(found, str):
        raise ValueError("it is neither a text nor {text: …}")
    found.encode()  # half a character, which JSON can hold, is a ValueError
    return found


Document = Annotated[str, PlainValidator(text, json_schema_input_type=str | TextDocument)]


class RerankRequest(Accepting):
    model: str = Field("auto", description="an id of /v1/models, or auto")
    query: str = Field(min_length=1)
    documents: list[Document] = Field(min_length=1, max_length=MOST_DOCUMENTS)
    top_n: int | None = Field(None, ge=1, lt=2**31, description="how many to answer with; all without it")
    return_documents: bool | None = Field(None, description="false to leave their texts out of the answer")


class Ranked(msgspec.Struct):
    text: str


class Result(msgspec.Struct, omit_defaults=True):
    """`index` is the document's place in the request; `relevance_score` is from 0 to 1."""

    index: int
    relevance_score: float
    document: Ranked | None = None


class RerankUsage(msgspec.Struct):
    prompt_tokens: int
    total_tokens: int


class Ranking(msgspec.Struct):
    """The most relevant first."""

    id: str
    model: str
    results: list[Result]
    usage: RerankUsage
    object: str = "list"
