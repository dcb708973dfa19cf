"""What Ollama's paths answer. Source: Ollama's API reference."""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from inference.schemas.chat import LikelyToken
from inference.schemas.tools import Written


class Error(msgspec.Struct):
    error: str


class Function(msgspec.Struct):
    name: str
    arguments: Written
    index: int


class ToolCall(msgspec.Struct):
    id: str
    function: Function


class Message(msgspec.Struct):
    content: str
    role: str = "assistant"
    thinking: str | UnsetType = UNSET
    tool_calls: list[ToolCall] | UnsetType = UNSET


class Figures(msgspec.Struct, kw_only=True):
    """Of the last line; durations are in nanoseconds, as LMX's front saw them pass.

    `prompt_eval_count` counts what was kept from before too; `prompt_eval_duration` is from the prompt's
    entry into the queue to the first that came of the answer.
    """

    done_reason: str | UnsetType = UNSET
    total_duration: int | UnsetType = UNSET
    load_duration: int | UnsetType = UNSET
    prompt_eval_count: int | UnsetType = UNSET
    prompt_eval_duration: int | UnsetType = UNSET
    eval_count: int | UnsetType = UNSET
    eval_duration: int | UnsetType = UNSET


class Line(Figures, kw_only=True):
    model: str
    created_at: str
    done: bool = False
    logprobs: list[LikelyToken] | UnsetType = UNSET


class ChatLine(Line, kw_only=True):
    message: Message


class GenerateLine(Line, kw_only=True):
    response: str
    thinking: str | UnsetType = UNSET


class Embeddings(msgspec.Struct):
    model: str
    embeddings: list[list[float]]
    total_duration: int
    load_duration: int
    prompt_eval_count: int


class OneEmbedding(msgspec.Struct):
    embedding: list[float]


class Details(msgspec.Struct):
    """`format` is safetensors or gguf."""

    format: str
    family: str
    families: list[str]
    parameter_size: str
    quantization_level: str
    parent_model: str = ""


class Tag(msgspec.Struct):
    """`digest` is SHA-256 of the id, size and time of the files: stable, but not of their content."""

    name: str
    model: str
    modified_at: str
    size: int
    digest: str
    details: Details


class Tags(msgspec.Struct):
    models: list[Tag]


class Running(msgspec.Struct):
    """A model that is loaded; `expires_at` is far off, for it stays so until it is told otherwise."""

    name: str
    model: str
    size: int
    size_vram: int
    digest: str
    details: Details
    expires_at: str
    context_length: int


class RunningList(msgspec.Struct):
    models: list[Running]


class Shown(msgspec.Struct):
    """`model_info` is the model's own metadata, by GGUF's names."""

    modified_at: str
    template: str
    parameters: str
    details: Details
    model_info: dict[str, Any]
    capabilities: list[str]


class Version(msgspec.Struct):
    version: str
