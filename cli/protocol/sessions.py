"""Sessions on the wire: what makes one, changes one, finds one, and how each is shown."""

import re
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, Field, model_validator

from cli.protocol.events import Event
from cli.protocol.messages import Message
from cli.protocol.permissions import Rules
from cli.protocol.requests import Id
from opta.strict import Strict


def tag(text: str) -> str:
    if not TAG.fullmatch(text) or len(text) > 50:
        raise ValueError("A tag is 1 to 50 characters: words without commas, with single spaces between them")
    return text


def unique(tags: list[str]) -> list[str]:
    return list(dict.fromkeys(tags))


def session_id(id: str) -> str:
    if id == "search":
        raise ValueError("There is a route of this name: take another")
    return id


TAG = re.compile(r"[^\s,]+( [^\s,]+)*")
Mode = Literal["chat", "do", "plan", "review", "research"]
SessionId = Annotated[Id, AfterValidator(session_id)]
Title = Annotated[str, Field(max_length=200)]
Model = Annotated[str, Field(min_length=1, max_length=200)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]
Tag = Annotated[str, AfterValidator(tag)]
Tags = Annotated[list[Tag], Field(max_length=50), AfterValidator(unique)]


class SessionCreate(Strict):
    """With an `id` that exists, that session is the answer: a retried create makes no second one.

    It is refused (409) where that session was made with another `cwd`, `tools`, `system` or `instructions`.
    `tools` are the names of those allowed; null is all of them. `instructions` end the system prompt.
    """

    id: SessionId | None = None
    title: Title = ""
    model: Model = "auto"
    cwd: Annotated[str, Field(max_length=4096, pattern="^/")] | None = None
    mode: Mode = "chat"
    tools: Annotated[list[Name], Field(max_length=500)] | None = None
    tags: Tags = []
    system: Annotated[str, Field(max_length=200_000)] = ""
    instructions: Annotated[str, Field(max_length=200_000)] = ""


class SessionUpdate(Strict):
    """What is left out, or null, stays as it is. `tags` are all the tags the session is to have."""

    title: Title | None = None
    tags: Tags | None = None
    archived: bool | None = None
    model: Model | None = None
    mode: Mode | None = None

    @model_validator(mode="after")
    def changes_something(self) -> Self:
        if not self.model_dump(exclude_none=True):
            raise ValueError(f"Nothing to change: give {', '.join(type(self).model_fields)}.")
        return self


class SessionFork(Strict):
    """`turn` is the last one of the new session; without it, the last before any that has not ended.

    With an `id` that exists, that session is the answer when it was forked from there.
    """

    id: SessionId | None = None
    turn: Id | None = None
    title: Title | None = None


class SessionFilter(BaseModel):
    """Which sessions are asked for; `id` is the beginning of theirs."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    id: Id | None = None
    tag: Tag | None = None
    project: Annotated[str, Field(max_length=4096)] | None = None
    cwd: Annotated[str, Field(max_length=4096)] | None = None
    model: Model | None = None
    mode: Mode | None = None
    archived: Literal["false", "true", "any"] = "false"


class SessionPage(SessionFilter):
    """The query of a list; `before` is the `next` of the page before."""

    before: Annotated[str, Field(pattern=r"^[0-9]{1,16}-[A-Za-z0-9_-]{1,64}$")] | None = None


class SessionSearch(SessionFilter):
    """`q` is words, each of which begins a word of the message or title, and "phrases" in quotes."""

    q: Annotated[str, Field(max_length=1000, pattern=r"\S")]


class Origin(BaseModel):
    """The session another was forked from, and the last turn that both have; it may be deleted since."""

    session: str
    turn: str


class SessionView(BaseModel):
    id: str
    title: str
    model: str
    mode: str
    cwd: str
    # The root of the repository that `cwd` is in, or `cwd`.
    project: str
    tags: list[str]
    archived: bool
    created: datetime
    # When a turn last said something.
    updated: datetime
    turns: int
    # The last event's number, and the turn that runs now.
    seq: int
    active: str | None
    origin: Origin | None


class SessionDetail(SessionView):
    """A session with its history, as the model sees it."""

    tools: list[str] | None
    # Its own; /v3/permissions/rules has those that hold in it besides.
    rules: Rules = Rules()
    system: str
    instructions: str
    messages: list[Message]


class SessionList(BaseModel):
    """The session used last comes first; `next` asks for what comes after the last of them."""

    sessions: list[SessionView]
    next: str | None = None


class SessionHit(BaseModel):
    """The message of a session that matches best, or its title; then `turn` is null.

    `matches` are where in `snippet` the words stand, as [start, end) in characters.
    """

    session: SessionView
    turn: str | None
    seq: int
    snippet: str
    matches: list[tuple[int, int]]


class SessionHits(BaseModel):
    """The best match comes first; one a session."""

    hits: list[SessionHit]


class SessionExport(BaseModel):
    """All there is of a session but the pieces that its messages grew from."""

    session: SessionDetail
    events: list[Event]
