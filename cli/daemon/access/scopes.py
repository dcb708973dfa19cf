"""What every route asks for. A route that is not in the table is for the daemon's own token alone."""

import re
from typing import Literal

from cli.protocol.access import SCOPES, Scope

Need = Literal["open"] | Scope

# read: look. write: work with sessions. admin: what outlives a session or runs on the machine directly.
ROUTES: dict[tuple[str, str], Need] = {
    # The status site asks it whether the daemon is there; it says little.
    ("GET", "/v3/health"): "open",
    ("GET", "/v3/metrics"): "read",
    ("GET", "/v3/openapi.json"): "read",
    ("GET", "/v3/schema"): "read",
    ("POST", "/v3/handoff"): "admin",
    # A page that says nothing yet, and where it brings the code that is its key.
    ("GET", "/v3/access/open"): "open",
    ("POST", "/v3/access/browser"): "open",
    ("DELETE", "/v3/access/browser"): "read",
    ("GET", "/v3/access"): "read",
    ("POST", "/v3/access/codes"): "admin",
    ("GET", "/v3/access/tokens"): "admin",
    ("POST", "/v3/access/tokens"): "admin",
    ("DELETE", "/v3/access/tokens/{id}"): "admin",
    ("GET", "/v3/config"): "read",
    ("PATCH", "/v3/config"): "admin",
    ("POST", "/v3/providers"): "admin",
    ("DELETE", "/v3/providers/{name}"): "admin",
    ("GET", "/v3/trust"): "read",
    ("POST", "/v3/trust"): "admin",
    ("GET", "/v3/operations"): "read",
    ("POST", "/v3/operations/{id}"): "read",  # and each by its route
    ("GET", "/v3/models"): "read",
    ("GET", "/v3/lmx/{name}"): "read",
    ("GET", "/v3/sessions"): "read",
    ("POST", "/v3/sessions"): "write",
    ("GET", "/v3/sessions/{id}"): "read",
    ("PATCH", "/v3/sessions/{id}"): "write",
    ("DELETE", "/v3/sessions/{id}"): "write",
    ("GET", "/v3/sessions/search"): "read",
    ("GET", "/v3/sessions/{id}/export"): "read",
    ("POST", "/v3/sessions/{id}/fork"): "write",
    ("GET", "/v3/sessions/{id}/context"): "read",
    ("GET", "/v3/sessions/{id}/events"): "read",
    ("GET", "/v3/sessions/{id}/stream"): "read",
    ("POST", "/v3/sessions/{id}/turns"): "write",
    ("POST", "/v3/sessions/{id}/turns/{turn}/steer"): "write",
    ("POST", "/v3/sessions/{id}/cancel"): "write",
    ("GET", "/v3/permissions/requests"): "read",
    ("POST", "/v3/sessions/{id}/permissions"): "write",  # an answer that is to be remembered always: admin
    ("GET", "/v3/permissions/rules"): "read",
    ("POST", "/v3/permissions/rules"): "admin",
    ("DELETE", "/v3/permissions/rules/{id}"): "admin",
    ("GET", "/v3/background"): "read",
    ("POST", "/v3/background"): "admin",
    ("GET", "/v3/background/{id}"): "read",
    ("DELETE", "/v3/background/{id}"): "admin",
    ("GET", "/v3/background/{id}/output"): "read",
    ("POST", "/v3/background/{id}/signal"): "admin",
    ("GET", "/v1/models"): "read",
    ("POST", "/v1/chat/completions"): "write",
    ("WS", "/acp"): "write",
    ("WS", "/v3/ws"): "read",  # and each of its messages by MESSAGES
}
# What a message over the socket asks for; any other asks for "write".
MESSAGES: dict[str, Scope] = {"ping": "read", "subscribe": "read", "unsubscribe": "read"}


def allows(scope: Scope, need: Scope) -> bool:
    return SCOPES.index(scope) >= SCOPES.index(need)


def needed(method: str, path: str) -> Need:
    """What a request asks for; "admin" for a route that is not in the table."""
    found = PATTERNS[method].fullmatch(path) if method in PATTERNS else None
    return NEEDS[int(found.lastgroup[1:])] if found and found.lastgroup else "admin"


def pattern(template: str) -> str:
    """A path of the table as a regular expression: `{id}` is one segment, `{rest:path}` any number."""
    parts = re.split(r"(\{\w+(?::path)?\})", template)
    wild = {True: ".+", False: "[^/]+"}
    return "".join(wild[part.endswith(":path}")] if part[:1] == "{" else re.escape(part) for part in parts)


def patterns() -> dict[str, re.Pattern[str]]:
    """For each method one expression, whose group r<n> is the table's n-th row."""
    rows: dict[str, list[str]] = {}
    for number, (method, template) in enumerate(ROUTES):
        rows.setdefault(method, []).append(f"(?P<r{number}>{pattern(template)})")
    return {method: re.compile("|".join(each)) for method, each in rows.items()}


NEEDS = tuple(ROUTES.values())
PATTERNS = patterns()
