"""What `/v1/messages` answers, whole and in events. Source: Anthropic's API reference, "Messages"."""

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from inference.schemas.tools import Written


class InputTokens(msgspec.Struct):
    input_tokens: int


class OutputDetails(msgspec.Struct):
    thinking_tokens: int


class Usage(msgspec.Struct):
    """`input_tokens` are those that were not kept from before: Anthropic counts the others apart."""

    input_tokens: int
    output_tokens: int
    cache_read_input_tokens: int = 0
    cache_creation_input_tokens: int = 0
    output_tokens_details: OutputDetails | UnsetType = UNSET


class Text(msgspec.Struct, tag="text", tag_field="type"):
    text: str = ""
    citations: None = None


class Thought(msgspec.Struct, tag="thinking", tag_field="type"):
    thinking: str = ""
    signature: str = ""


class ToolUse(msgspec.Struct, tag="tool_use", tag_field="type"):
    id: str
    name: str
    input: Written


Answered = Text | Thought | ToolUse
StopReason = Literal["end_turn", "max_tokens", "stop_sequence", "tool_use", "model_context_window_exceeded"]


class Answer(msgspec.Struct, tag="message", tag_field="type"):
    id: str
    model: str
    content: list[Answered]
    usage: Usage
    stop_reason: StopReason | None = None
    stop_sequence: str | None = None
    role: str = "assistant"


class TextDelta(msgspec.Struct, tag="text_delta", tag_field="type"):
    text: str


class ThinkingDelta(msgspec.Struct, tag="thinking_delta", tag_field="type"):
    thinking: str


class InputDelta(msgspec.Struct, tag="input_json_delta", tag_field="type"):
    partial_json: str


class Stopped(msgspec.Struct):
    stop_reason: StopReason
    stop_sequence: str | None


class MessageStart(msgspec.Struct, tag="message_start", tag_field="type"):
    message: Answer


class BlockStart(msgspec.Struct, tag="content_block_start", tag_field="type"):
    index: int
    content_block: Answered


class BlockDelta(msgspec.Struct, tag="content_block_delta", tag_field="type"):
    index: int
    delta: TextDelta | ThinkingDelta | InputDelta


class BlockStop(msgspec.Struct, tag="content_block_stop", tag_field="type"):
    index: int


class MessageDelta(msgspec.Struct, tag="message_delta", tag_field="type"):
    delta: Stopped
    usage: Usage


class MessageStop(msgspec.Struct, tag="message_stop", tag_field="type"):
    pass


class Ping(msgspec.Struct, tag="ping", tag_field="type"):
    pass


Streamed = MessageStart | BlockStart | BlockDelta | BlockStop | MessageDelta | MessageStop | Ping


class ErrorDetail(msgspec.Struct):
    type: str
    message: str


class Error(msgspec.Struct, tag="error", tag_field="type"):
    error: ErrorDetail
    request_id: str
