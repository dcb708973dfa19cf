"""What `/v1/responses` answers. Source: OpenAI's API reference, "Responses" and its streaming events."""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from inference.schemas.chat import LikelyToken

Status = Literal["in_progress", "completed", "incomplete"]


class OutputText(msgspec.Struct, tag="output_text", tag_field="type"):
    text: str = ""
    annotations: list[None] = []
    logprobs: list[LikelyToken] = []


class ReasoningText(msgspec.Struct, tag="reasoning_text", tag_field="type"):
    text: str = ""


class OutputMessage(msgspec.Struct, tag="message", tag_field="type"):
    id: str
    content: list[OutputText] = []
    status: Status = "in_progress"
    role: str = "assistant"


class OutputReasoning(msgspec.Struct, tag="reasoning", tag_field="type"):
    id: str
    content: list[ReasoningText] = []
    status: Status = "in_progress"
    summary: list[None] = []


class OutputCall(msgspec.Struct, tag="function_call", tag_field="type"):
    id: str
    call_id: str
    name: str
    arguments: str = ""
    status: Status = "in_progress"


Output = OutputMessage | OutputReasoning | OutputCall


class InputDetails(msgspec.Struct):
    cached_tokens: int
    # What OpenAI asks money for.
    cache_write_tokens: int = 0


class OutputDetails(msgspec.Struct):
    reasoning_tokens: int


class ResponsesUsage(msgspec.Struct):
    input_tokens: int
    input_tokens_details: InputDetails
    output_tokens: int
    output_tokens_details: OutputDetails
    total_tokens: int


class ResponseError(msgspec.Struct):
    message: str
    code: str = "server_error"


class Incomplete(msgspec.Struct):
    reason: str


class NamedChoice(msgspec.Struct):
    name: str
    type: str = "function"


class Response(msgspec.Struct):
    """An answer, and what it was asked with."""

    id: str
    created_at: int
    model: str
    parallel_tool_calls: bool
    tool_choice: str | NamedChoice
    tools: list[dict[str, Any]]
    temperature: float
    top_p: float
    text: dict[str, Any]
    reasoning: dict[str, Any]
    metadata: dict[str, str]
    instructions: str | None
    previous_response_id: str | None
    max_output_tokens: int | None
    store: bool
    top_logprobs: int
    output: list[Output] = []
    status: str = "in_progress"
    usage: ResponsesUsage | None = None
    error: ResponseError | None = None
    incomplete_details: Incomplete | None = None
    truncation: str = "disabled"
    background: bool = False
    object: str = "response"


class ResponseEvent(msgspec.Struct, omit_defaults=True):
    """One event of a stream: of all that there is, each type has a few."""

    type: str
    sequence_number: int
    response: Response | UnsetType = UNSET
    output_index: int | UnsetType = UNSET
    item_id: str | UnsetType = UNSET
    content_index: int | UnsetType = UNSET
    item: Output | UnsetType = UNSET
    part: OutputText | ReasoningText | UnsetType = UNSET
    delta: str | UnsetType = UNSET
    text: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    arguments: str | UnsetType = UNSET
    logprobs: list[LikelyToken] | UnsetType = UNSET


class Deleted(msgspec.Struct):
    id: str
    object: str = "response"
    deleted: bool = True
