"""`WS /v1/chat/stream` on the wire: several chats on one socket, each under an id that the client chose.

    in     chat.request   id, body: what /v1/chat/completions takes
           chat.cancel    id
    out    chat.accepted  id, model, prompt_tokens
           chat.progress  id, done, total: how far a long prompt is read
           chat.delta     id, choice, and one of text, reasoning, tool_call
           chat.done      id, choices with their finish_reason, usage; none and null when cancelled
           chat.error     id (null when the message had none), status, error

After chat.done or chat.error the id is free again.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, UnsetType
from pydantic import Field, TypeAdapter, ValidationInfo, field_validator

from inference.request import Finish
from inference.schemas.chat import CallPiece, ChatRequest, Logprobs
from inference.schemas.usage import Usage
from opta.strict import Strict

Id = Annotated[str, Field(min_length=1, max_length=128)]


class Request(Strict):
    type: Literal["chat.request"]
    id: Id
    body: ChatRequest

    @field_validator("body")
    @classmethod
    def streams(cls, body: ChatRequest, _: ValidationInfo) -> ChatRequest:
        if body.stream is False:
            raise ValueError("stream: false is not for a socket; ask /v1/chat/completions")
        return body


class Cancel(Strict):
    type: Literal["chat.cancel"]
    id: Id


Incoming: TypeAdapter[Request | Cancel] = TypeAdapter(
    Annotated[Request | Cancel, Field(discriminator="type")]
)


class Accepted(msgspec.Struct, tag="chat.accepted", tag_field="type"):
    id: str
    model: str
    prompt_tokens: int


class Reading(msgspec.Struct, tag="chat.progress", tag_field="type"):
    id: str
    done: int
    total: int


class Delta(msgspec.Struct, tag="chat.delta", tag_field="type", omit_defaults=True):
    id: str
    choice: int
    text: str | UnsetType = UNSET
    logprobs: Logprobs | UnsetType = UNSET
    reasoning: str | UnsetType = UNSET
    tool_call: CallPiece | UnsetType = UNSET


class Ending(msgspec.Struct):
    index: int
    finish_reason: str


class Done(msgspec.Struct, tag="chat.done", tag_field="type"):
    id: str
    choices: list[Ending]
    usage: Usage | None

    @classmethod
    def of(cls, id: str, reasons: dict[int, str], finish: Finish) -> "Done":
        endings = [Ending(index, reason) for index, reason in sorted(reasons.items())]
        return cls(id, endings, Usage.of(finish))
