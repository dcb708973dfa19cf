"""The one internal request, and the events a runner answers with.

Front → runner: Generate, Cancel, Inspect. Runner → front: Ready, Started, Text, Finish, Failed, Report.
The answer to a Generate is Started, Text…, Finish; Failed may take the place of any of them and ends it.
"""

import msgspec


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message of a conversation, as chat templates want it."""

    role: str
    content: str
    name: str | None = None
    tool_call_id: str | None = None


class Generate(msgspec.Struct, frozen=True, tag=True):
    """Continue `messages`; `max_tokens` is None for as many as the context holds."""

    id: int
    messages: list[Message]
    max_tokens: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    stop: list[str] = []


class Cancel(msgspec.Struct, frozen=True, tag=True):
    """Nobody waits for answer `id` any more."""

    id: int


class Inspect(msgspec.Struct, frozen=True, tag=True):
    """Ask for a Report under `id`."""

    id: int


class Activity(msgspec.Struct, frozen=True):
    """How the model runs here, and what it does right now; bytes are of the engine's own memory."""

    device: str
    dtype: str
    # What multiplies matrices when the device is a CPU.
    blas: str
    prefilling: int
    decoding: int
    memory_bytes: int
    peak_memory_bytes: int
    prefix_cache_bytes: int
    prefix_cache_entries: int


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The model is loaded; always the first event."""

    activity: Activity
    id: int = 0


class Started(msgspec.Struct, frozen=True, tag=True):
    """The prompt was accepted, and has so many tokens; its answer will come."""

    id: int
    prompt_tokens: int


class Text(msgspec.Struct, frozen=True, tag=True):
    id: int
    text: str


class Finish(msgspec.Struct, frozen=True, tag=True):
    """The end of an answer; `reason` is "stop" or "length"."""

    id: int
    reason: str
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int


class Failed(msgspec.Struct, frozen=True, tag=True):
    """Answer `id` will not come (or, with id 0, the model did not load)."""

    id: int
    message: str
    code: str
    status: int = 500
    field: str | None = None


class Report(msgspec.Struct, frozen=True, tag=True):
    """The answer to an Inspect."""

    id: int
    activity: Activity


Command = Generate | Cancel | Inspect
Event = Ready | Started | Text | Finish | Failed | Report
