"""Permission rules and requests, asked of the daemon."""

from urllib.parse import quote, urlencode

from cli.clients.daemon import Daemon, at, checked
from cli.protocol.permissions import (
    Action,
    RequestList,
    RequestView,
    RuleAdd,
    RuleList,
    RuleScope,
    RuleView,
)
from cli.protocol.socket import Decision, PermissionDecision, Remember

RULES = "/v3/permissions/rules"


def rules(daemon: Daemon, session: str | None) -> list[RuleView]:
    return RuleList.model_validate_json(daemon.call("GET", f"{RULES}{of(session)}")).rules


def add(daemon: Daemon, action: Action, pattern: str, scope: RuleScope, session: str | None) -> RuleView:
    body = checked(RuleAdd, action=action, pattern=pattern, scope=scope, session=session)
    return RuleView.model_validate_json(daemon.call("POST", RULES, body))


def remove(daemon: Daemon, id: str, session: str | None) -> None:
    daemon.call("DELETE", f"{RULES}/{quote(id, safe='')}{of(session)}")


def requests(daemon: Daemon) -> list[RequestView]:
    return RequestList.model_validate_json(daemon.call("GET", "/v3/permissions/requests")).requests


def answer(
    daemon: Daemon, session: str, request: str, decision: Decision, remember: Remember, *, message: str = ""
) -> None:
    said = PermissionDecision(request=request, decision=decision, remember=remember, message=message)
    daemon.call("POST", at(session, "/permissions"), said)


def of(session: str | None) -> str:
    return f"?{urlencode({'session': session})}" if session else ""
