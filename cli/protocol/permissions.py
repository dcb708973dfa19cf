"""Permission rules on the wire: what the tools of a session may do without a question, and what never."""

import re
from typing import Annotated, Any, Literal, NamedTuple, Self, get_args

from pydantic import AfterValidator, BaseModel, model_validator

from cli.protocol.requests import Id
from opta.strict import Strict

# In the order in which they win.
Action = Literal["deny", "ask", "allow"]
ACTIONS: tuple[Action, ...] = get_args(Action)
# A session's rules go with it; a project's stand in its .opta folder, the user's hold everywhere.
RuleScope = Literal["user", "project", "session"]
SCOPES: tuple[RuleScope, ...] = get_args(RuleScope)

FORM = re.compile(r"(?P<tool>[A-Za-z0-9_.:*-]{1,64})(?:\((?P<about>[^\x00-\x1f]{1,4096})\))?")


class Parts(NamedTuple):
    """A pattern's tool, and the command or path in its brackets; None without brackets."""

    tool: str
    about: str | None


def parts(pattern: str) -> Parts:
    """Raises ValueError."""
    found = FORM.fullmatch(pattern)
    if not found:
        raise ValueError("A pattern is a tool, or a tool and what it is about: run_command(git *)")
    return Parts(found["tool"], found["about"])


def pattern(text: str) -> str:
    parts(text)
    return text


Pattern = Annotated[str, AfterValidator(pattern)]


class Rules(Strict):
    """Rules as they are kept: the patterns by what they say."""

    deny: list[Pattern] = []
    ask: list[Pattern] = []
    allow: list[Pattern] = []


class RuleAdd(Strict):
    """`session` is whose rule it is, or the session of the project."""

    action: Action
    pattern: Pattern
    scope: RuleScope
    session: Id | None = None

    @model_validator(mode="after")
    def names_its_session(self) -> Self:
        if self.scope != "user" and self.session is None:
            raise ValueError(f"A rule of a {self.scope} needs session")
        return self


class RulesOf(BaseModel):
    """Whose rules are asked for: the user's, and with a session all that hold in it."""

    session: Id | None = None


class RuleView(BaseModel):
    """`where` is the file that holds it, or the session."""

    id: str
    action: Action
    pattern: str
    scope: RuleScope
    where: str


class RuleList(BaseModel):
    """Deny wins over ask, and ask over allow, wherever they stand."""

    rules: list[RuleView]


class RequestView(BaseModel):
    """A permission request that is open; see the event `permission.request`."""

    session: str
    turn: str
    id: str
    call: str
    name: str
    arguments: dict[str, Any]
    reason: str
    pattern: str


class RequestList(BaseModel):
    """The one that waits longest comes first."""

    requests: list[RequestView]
