"""Every event of a session: one vocabulary from the agent loop to the screen.

The loop yields a `Fact` or a `TextDelta`; the session's log stamps it with a number, a turn and a
time (`Event`), and sends and stores that. JSON Schema of all of it stands at `/v3/schema`.
"""

import re
from datetime import datetime
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

VERSION = 1
# An event's number as text, in a header or a query.
SEQ = re.compile(r"[0-9]{1,18}")


StopReason = Literal["budget", "max_turns", "loop", "permission"]
# What a model is at before it answers.
Work = Literal["waiting", "reading", "summarising"]


class Body(BaseModel):
    """The base of all events. Unknown fields are ignored: an older client reads a newer daemon."""

    model_config = ConfigDict(frozen=True)


class Usage(Body):
    """Tokens of one turn, as the server counted them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        sums = {name: getattr(self, name) + getattr(other, name) for name in Usage.model_fields}
        return Usage(**sums)


class TurnQueued(Body):
    """The user's message is stored and waits for the turns before it."""

    type: Literal["turn.queued"] = "turn.queued"
    text: str


class TurnStarted(Body):
    """`reminder` is what the model is told at the end of the user's message: what changed since the last.

    `mode` is the session's, and what the model knows it by from here on.
    """

    type: Literal["turn.started"] = "turn.started"
    model: str
    mode: str = "chat"
    reminder: str = ""


class TurnSteered(Body):
    """Text added to the running turn. It is stored here, and the model reads it from `steer.taken` on."""

    type: Literal["turn.steered"] = "turn.steered"
    id: str
    text: str


class SteerTaken(Body):
    """The place in the conversation at which the text of a `turn.steered` stands."""

    type: Literal["steer.taken"] = "steer.taken"
    id: str


class TurnProgress(Body):
    """The model reads its prompt: `done` of `total` tokens; or it sums up what no longer fits, in pieces.

    "waiting" says only that its server is alive. Of passing interest: no part of history.
    """

    type: Literal["turn.progress"] = "turn.progress"
    done: int
    total: int
    work: Work = "reading"


class ReasoningDelta(Body):
    """A piece of what the model thinks before it answers; it is never sent back to a model."""

    type: Literal["reasoning.delta"] = "reasoning.delta"
    text: str


class ReasoningDone(Body):
    """One whole thought."""

    type: Literal["reasoning.done"] = "reasoning.done"
    text: str


class TextDelta(Body):
    """A piece of the answer, about 50 ms of it. The one event that a crash may take (a second at most)."""

    type: Literal["text.delta"] = "text.delta"
    text: str


class TextDone(Body):
    """One whole message of the model: what history keeps."""

    type: Literal["text.done"] = "text.done"
    text: str


class ToolStarted(Body):
    """Stored before the tool runs. `mutates` is false for a tool that only reads: it may run again."""

    type: Literal["tool.started"] = "tool.started"
    call: str
    name: str
    arguments: dict[str, Any]
    mutates: bool = True


class ToolDone(Body):
    """`ok` is false when the tool failed, was denied or does not exist; `result` is what the model reads."""

    type: Literal["tool.done"] = "tool.done"
    call: str
    name: str
    ok: bool
    result: str


class ContextCompacted(Body):
    """What the model is told from here on, in place of a conversation that no longer fits.

    The conversation itself stays as it is: this and the messages after it make the same requests again
    at any time. Messages are counted from the first after the system prompt.
    """

    type: Literal["context.compacted"] = "context.compacted"
    # Stands for the messages before `through`.
    summary: str = ""
    through: int = 0
    # Results of tools before this message are told by a line each; from it on they share `room` bytes.
    masked: int = 0
    room: int
    # How many messages there were.
    messages: int
    # Tokens of the request before and after, and of the model's window; estimated where `exact` is false.
    before: int
    after: int
    window: int
    exact: bool
    # How the summary was made: "model", "digest" where it could not, or "none".
    made: Literal["model", "digest", "none"] = "none"


class ContextWarning(Body):
    """The server does not read what it is sent; `window` is what it is taken to hold from now on."""

    type: Literal["context.warning"] = "context.warning"
    message: str
    window: int


class TurnDone(Body):
    """`model` is the one that answered: where `auto` was asked for, the server's choice."""

    type: Literal["turn.done"] = "turn.done"
    text: str
    finish_reason: Literal["stop", "length"]
    usage: Usage
    seconds: float
    model: str = ""


class TurnFailed(Body):
    """`message` says what happened and to which thing, `hint` what to do next."""

    type: Literal["turn.failed"] = "turn.failed"
    code: str
    message: str
    hint: str = ""


class TurnCancelled(Body):
    type: Literal["turn.cancelled"] = "turn.cancelled"


class TurnStopped(Body):
    """The daemon ended a turn that was going well enough to go on; what it did is kept."""

    type: Literal["turn.stopped"] = "turn.stopped"
    reason: StopReason
    message: str
    hint: str = ""


class SessionUpdated(Body):
    """The user changed the session itself, outside of any turn; null is what stayed as it was."""

    type: Literal["session.updated"] = "session.updated"
    title: str | None = None
    tags: list[str] | None = None
    archived: bool | None = None
    model: str | None = None
    mode: str | None = None


class PermissionRequest(Body):
    """A call waits until somebody allows or denies it, or its turn ends. `reason` says why it is asked.

    `pattern` is what a rule would say that remembers the answer, or several between commas, one for each
    command of a line; empty where none can.
    """

    type: Literal["permission.request"] = "permission.request"
    id: str
    call: str
    name: str
    arguments: dict[str, Any]
    reason: str
    pattern: str


class PermissionResolved(Body):
    """The answer, which was the first; `by` is the client that gave it."""

    type: Literal["permission.resolved"] = "permission.resolved"
    id: str
    decision: Literal["allow", "deny"]
    remember: Literal["once", "session", "always"]
    by: str


class JobStarted(Body):
    """A background job of the session; its `command` is as it was run."""

    type: Literal["job.started"] = "job.started"
    id: str
    label: str
    command: list[str]
    cwd: str


class JobOutput(Body):
    """A job has written up to byte `next`. Told while anybody follows the session: each second at first,
    and more seldom the older the job is; its output can be awaited at /v3/background/{id}/output."""

    type: Literal["job.output"] = "job.output"
    id: str
    next: int


class JobEnded(Body):
    """`code` of one that exited, `signal` of one that was killed; of one that is lost neither is known."""

    type: Literal["job.ended"] = "job.ended"
    id: str
    status: Literal["exited", "killed", "lost"]
    code: int | None
    signal: str | None
    next: int


EVENTS: tuple[type[Body], ...] = (
    TurnQueued,
    TurnStarted,
    TurnSteered,
    SteerTaken,
    TurnProgress,
    ReasoningDelta,
    ReasoningDone,
    TextDelta,
    TextDone,
    ToolStarted,
    ToolDone,
    ContextCompacted,
    ContextWarning,
    TurnDone,
    TurnFailed,
    TurnCancelled,
    TurnStopped,
    SessionUpdated,
    PermissionRequest,
    PermissionResolved,
    JobStarted,
    JobOutput,
    JobEnded,
)
ENDINGS = (TurnDone, TurnFailed, TurnCancelled, TurnStopped)
# What grows or passes within a message: shown ahead of its row, unlike a fact.
Delta = TextDelta | ReasoningDelta | TurnProgress
DELTAS = (TextDelta, ReasoningDelta, TurnProgress)

AnyBody = Annotated[
    TurnQueued
    | TurnStarted
    | TurnSteered
    | SteerTaken
    | TurnProgress
    | ReasoningDelta
    | ReasoningDone
    | TextDelta
    | TextDone
    | ToolStarted
    | ToolDone
    | ContextCompacted
    | ContextWarning
    | TurnDone
    | TurnFailed
    | TurnCancelled
    | TurnStopped
    | SessionUpdated
    | PermissionRequest
    | PermissionResolved
    | JobStarted
    | JobOutput
    | JobEnded,
    Field(discriminator="type"),
]


class Event(BaseModel):
    """What is stored and sent. `seq` increases within a session; numbers may be missing.

    `turn` is empty for what happens to the session outside of a turn.
    """

    model_config = ConfigDict(frozen=True)

    seq: int
    turn: str
    time: datetime
    event: AnyBody

    @cached_property
    def as_json(self) -> str:
        """Written once, however many follow."""
        return self.model_dump_json()
