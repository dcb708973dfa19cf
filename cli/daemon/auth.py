"""The border of the daemon: who may ask at all, checked once for HTTP and before a WebSocket is accepted.

A page in the user's browser can reach this port. It cannot read the token, but it can have its own
name resolve to 127.0.0.1 (DNS rebinding), so the Host and Origin it must send are checked as well.
"""

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from cli.daemon.errors import problem
from cli.daemon.hub import Hub
from opta.body import Body, BodyTooLarge, Receive
from opta.errors import Refusal

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK = {"127.0.0.1", "localhost", "::1"}
# What needs no token: the status site asks it whether the daemon is there.
OPEN = {("GET", "/v3/health")}


class Border:
    """An ASGI application around the daemon's: what passes carries the hub in its scope."""

    def __init__(self, application: Application, hub: Hub) -> None:
        self.application = application
        self.hub = hub

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal, body = check(scope, self.hub.token), Body(receive)
        if refusal is None:
            try:
                await self.application({**scope, "hub": self.hub}, body.receive, send)
                return
            except BodyTooLarge as error:
                refusal = error
        await refuse(refusal, scope, body, send)


def check(scope: Scope, token: str) -> Refusal | None:
    """Why this request may not pass; None when it may."""
    hosts, origins = headers(scope, b"host"), headers(scope, b"origin")
    if len(hosts) != 1 or hostname(f"//{hosts[0]}") not in LOOPBACK:
        return Refusal("The Host must be 127.0.0.1 or localhost.", status=403, code="foreign_host")
    if any(hostname(origin) not in LOOPBACK for origin in origins):
        return Refusal("The Origin must be a page of this machine.", status=403, code="foreign_origin")
    if "token" in dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)):
        return Refusal("A token never goes into a URL: send it as `Authorization: Bearer …`.", field="token")
    if (scope.get("method"), scope["path"]) not in OPEN and not authorized(scope, token):
        message = "No valid token came with the request. It is in OPTA_HOME/daemon/token, new at each start."
        return Refusal(message, status=401, code="unauthorized")
    return None


def authorized(scope: Scope, token: str) -> bool:
    """Compared as bytes, in constant time; a header that is there twice counts as none."""
    given = headers(scope, b"authorization")
    scheme, _, credentials = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    return scheme.lower() == "bearer" and hmac.compare_digest(credentials.encode(), token.encode())


def headers(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def hostname(url: str) -> str | None:
    """The host of a URL, without its port; None where there is none or it makes no sense."""
    try:
        parts = urlsplit(url)
        return parts.hostname if parts.scheme in ("", "http", "https") else None
    except ValueError:
        return None


async def refuse(refusal: Refusal, scope: Scope, rest: Body, send: Send) -> None:
    """Answer with the problem document; a WebSocket is denied by the same answer, before it is accepted."""
    kind = "http" if scope["type"] == "http" else "websocket.http"
    if kind == "http":
        await rest.drain()
    body = problem(refusal)
    fields = {
        b"content-type": b"application/problem+json",
        b"content-length": str(len(body)).encode(),
        b"connection": b"close",
    }
    start = {"status": refusal.status, "headers": list(fields.items())}
    await send({"type": f"{kind}.response.start", **start})
    await send({"type": f"{kind}.response.body", "body": body})
