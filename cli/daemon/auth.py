"""The border of the daemon: who may ask at all, checked once for HTTP and before a WebSocket is accepted.

A page in the user's browser can reach this port. It cannot read the token, but it can have its own
name resolve to 127.0.0.1 (DNS rebinding), so the Host and Origin it must send are checked as well; and
it can send what a form can without being asked (CVE-2026-22812), so only JSON is taken.
"""

import re
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import parse_qsl

from asgiref.sync import ThreadSensitiveContext
from django.http import HttpRequest

from cli.daemon.access.connections import Connection
from cli.daemon.access.keys import OWN, Keys, Unauthorized
from cli.daemon.access.scopes import needed
from cli.daemon.access.tokens import Caller
from cli.daemon.errors import document
from cli.daemon.hub import Hub
from opta.body import Body, BodyTooLarge, Receive
from opta.errors import Refusal

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

# This machine, under any port: the whole of a Host, and after its scheme the whole of an Origin.
HOST = r"(?:127\.0\.0\.1|localhost|\[::1\])(?::[0-9]{1,5})?"
OURS = re.compile(HOST, re.IGNORECASE)
OUR_PAGE = re.compile(f"https?://{HOST}", re.IGNORECASE)
SAFE = {"GET", "HEAD", "OPTIONS"}
# Names under which tokens stand in the URLs of others.
SECRETS = {"token", "access_token"}
LONGEST_PATH = 2048
# Segments that would be another path to whoever takes them for folders.
ODD_SEGMENT = re.compile(r"//|/\.{1,2}(?:/|$)")

NO_KEY = "No valid token came with the request. It is in OPTA_HOME/daemon/token, new at each start."


class Border:
    """An ASGI application around the daemon's: what passes carries the hub and its caller in its scope."""

    def __init__(self, application: Application, hub: Hub) -> None:
        self.application = application
        self.hub = hub
        # For the little in Django that is not async. By itself it starts two threads for every request.
        self.thread = ThreadPoolExecutor(1, "django")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = Body(receive)
        try:
            caller = admit(scope, self.hub.keys)
        except Refusal as refusal:
            await refuse(refusal, scope, body, send)
            return
        run = partial(self.run, {**scope, "hub": self.hub, "caller": caller})
        try:
            with self.hub.lifetime.guest() if caller else nullcontext():
                if caller is None or caller is OWN:
                    await run(body.receive, send)
                else:
                    connection = Connection(scope["type"], body.receive, send)
                    await self.hub.keys.connections.run(caller, connection, run)
        except BodyTooLarge as error:
            await refuse(error, scope, body, send)

    async def run(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with ThreadSensitiveContext(executor=self.thread):
            await self.application(scope, receive, send)


def admit(scope: Scope, keys: Keys) -> Caller | None:
    """Who asks, None on a route that is open to all. Raises Refusal when this request may not pass."""
    check_names(scope)
    check_url(scope)
    method, path = scope.get("method", "WS"), scope["path"]
    need, unsafe = needed(method, path), method not in SAFE
    caller = None if need == "open" else identify(scope, keys)
    if caller.browser if caller else unsafe:
        check_page(scope, unsafe=unsafe)
    if caller and need != "open":
        keys.permit(caller, need, f"{method} {path}", write=unsafe)
    if unsafe:
        check_form(scope)
    return caller


def check_names(scope: Scope) -> None:
    """Raises Refusal for a name of another machine, or a page of another site."""
    hosts = headers(scope, b"host")
    if len(hosts) != 1 or not OURS.fullmatch(hosts[0]):
        raise Refusal("The Host must be 127.0.0.1 or localhost.", status=403, code="foreign_host")
    foreign = not all(map(OUR_PAGE.fullmatch, headers(scope, b"origin")))
    # A browser that sends no Origin, as with an <img>, says at least that.
    if foreign or "cross-site" in headers(scope, b"sec-fetch-site"):
        raise Refusal("The Origin must be a page of this machine.", status=403, code="foreign_origin")


def check_url(scope: Scope) -> None:
    """Raises Refusal for a path that no route has, and for a token in the URL, where logs would keep it."""
    path: str = scope["path"]
    odd = not path.isprintable() or "\\" in path or "\ufffd" in path
    if odd or len(path) > LONGEST_PATH or ODD_SEGMENT.search(path):
        raise Refusal(f"No route has the path {path[:200]!r}.", code="invalid_path")
    query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    if found := next((name for name, _ in query if name in SECRETS), None):
        raise Refusal("A token never goes into a URL: send it as `Authorization: Bearer …`.", field=found)


def identify(scope: Scope, keys: Keys) -> Caller:
    """Raises Refusal when nobody we know sent this."""
    authorization, cookies = headers(scope, b"authorization"), headers(scope, b"cookie")
    caller = keys.caller(authorization, cookies, scope["server"][1])
    if caller is None:
        raise keys.denied(peer(scope), Unauthorized(NO_KEY))
    return caller


def check_form(scope: Scope) -> None:
    """Raises Refusal for a body that is not said to be JSON: a form of any page could send it unasked."""
    if not headers(scope, b"transfer-encoding") and (headers(scope, b"content-length") or ["0"]) == ["0"]:
        return
    kinds = headers(scope, b"content-type")
    if len(kinds) != 1 or kinds[0].partition(";")[0].strip().lower() != "application/json":
        raise Refusal("The Content-Type must be application/json.", status=415, code="unsupported_media_type")


def check_page(scope: Scope, *, unsafe: bool) -> None:
    """Raises Refusal for a page of another port, which is another program's, and where no page is named.

    A browser names none when the user typed the address himself; that is to look, not to write.
    """
    origins, sites = headers(scope, b"origin"), headers(scope, b"sec-fetch-site")
    if origins:
        own = origins == [f"http://{headers(scope, b'host')[0]}"]
    else:
        own = sites == ["same-origin"] or (not unsafe and sites in ([], ["none"]))
    if not own:
        raise Refusal("Only a page of the daemon itself may send this.", status=403, code="foreign_origin")


def peer(scope: Scope) -> str:
    return str((scope.get("client") or ("unknown",))[0])


def headers(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def caller_of(request: HttpRequest) -> Caller:
    """Who sent a request, on a route that is not open to all."""
    return cast(Caller, request.scope["caller"])  # type: ignore[attr-defined]  # an ASGIRequest


async def refuse(refusal: Refusal, scope: Scope, rest: Body, send: Send) -> None:
    """Answer in the dialect of the path; a WebSocket is denied by the same answer, before it is accepted."""
    kind = "http" if scope["type"] == "http" else "websocket.http"
    if kind == "http":
        await rest.drain()
    media, body = document(refusal, scope["path"])
    fields = {
        b"content-type": media.encode(),
        b"content-length": str(len(body)).encode(),
        b"connection": b"close",
    }
    if refusal.status == HTTPStatus.UNAUTHORIZED:
        fields[b"www-authenticate"] = b"Bearer"
    if refusal.retry_after is not None:
        fields[b"retry-after"] = str(refusal.retry_after).encode()
    start = {"status": refusal.status, "headers": list(fields.items())}
    await send({"type": f"{kind}.response.start", **start})
    await send({"type": f"{kind}.response.body", "body": body})
