"""Who may do what: scopes, the tokens of other programs, and how a browser gets in."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from opta.strict import Strict

Scope = Literal["read", "write", "admin"]
# From the least to the most; each may do what those before it may.
SCOPES: tuple[Scope, ...] = ("read", "write", "admin")


class TokenCreate(Strict):
    """`expires_in` is in seconds; without it the token holds until it is revoked."""

    name: Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]+$")]
    scope: Scope
    expires_in: Annotated[int, Field(ge=60, le=10 * 365 * 86400)] | None = None


class TokenView(BaseModel):
    id: str
    name: str
    scope: Scope
    created: datetime
    expires: datetime | None


class TokenCreated(TokenView):
    """`token` is shown this once: only its hash is stored."""

    token: str


class TokenList(BaseModel):
    """In the order in which they were made; expired ones are gone."""

    tokens: list[TokenView]


class CodeCreate(Strict):
    """What the browser that brings the code may do."""

    scope: Scope


class CodeView(BaseModel):
    """A code for one browser, good once and for `expires_in` seconds; `path` is where it is brought to."""

    code: str
    path: str
    expires_in: int


class CodeExchange(Strict):
    code: Annotated[str, Field(max_length=200)]


class CallerView(BaseModel):
    """Who the daemon takes the asker for."""

    name: str
    scope: Scope
    expires: datetime | None
