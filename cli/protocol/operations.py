"""Operations on the wire: whatever can be done to the daemon, by its name."""

from typing import Any, Literal

from pydantic import BaseModel, JsonValue

from cli.protocol.access import Scope
from opta.strict import Strict

# read: looks. write: changes what can be changed back. dangerous: takes away, or lets in; it is confirmed.
Safety = Literal["read", "write", "dangerous"]


class OperationRun(Strict):
    """`input` as the operation's schema has it; what is dangerous wants `confirm`."""

    input: dict[str, JsonValue] = {}
    confirm: bool = False


class OperationView(BaseModel):
    """`input` is a JSON Schema; `danger` says what a dangerous one does. The answer is that of the route."""

    id: str
    summary: str
    safety: Safety
    danger: str
    scope: Scope
    method: str
    path: str
    input: dict[str, Any]


class OperationList(BaseModel):
    """By what they are about."""

    operations: list[OperationView]
