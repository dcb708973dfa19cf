"""How a browser gets in: a code that is good once and for a minute, exchanged for a cookie.

Both live in memory: a browser is let in again after the daemon was started anew. A cookie is sent to
every port of a host, so whatever else serves on 127.0.0.1 may see it when the user visits that; its
Path and its use from the daemon's own pages alone keep it from being used by a page of theirs.
"""

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from cli.daemon.access.tokens import Caller, digest, utc
from cli.protocol.access import Scope
from opta.errors import Refusal

CODE_SECONDS = 60
STAY = timedelta(hours=12)
# Codes that wait, and browsers that are in; the first of them makes room for one more.
MOST = 64


class BadCode(Refusal):
    status = 401
    code = "bad_code"

    def __init__(self) -> None:
        super().__init__("The code is unknown, used, or older than a minute. Get another: opta daemon open")


class Browsers:
    """Codes and cookies by their hashes: a lookup tells nothing about a secret by the time it takes."""

    def __init__(self, clock: Callable[[], datetime] = utc) -> None:
        self.clock = clock
        self.codes: dict[str, tuple[Scope, datetime]] = {}
        self.inside: dict[str, Caller] = {}

    def invite(self, scope: Scope) -> str:
        """A code for one browser."""
        code = secrets.token_urlsafe(32)
        make_room(self.codes)
        self.codes[digest(code)] = scope, self.clock() + timedelta(seconds=CODE_SECONDS)
        return code

    def admit(self, code: str) -> tuple[str, Caller]:
        """The cookie for whoever brings a code, which is used up by that. Raises BadCode."""
        found = self.codes.pop(digest(code), None)
        if found is None or found[1] <= self.clock():
            raise BadCode
        cookie = secrets.token_urlsafe(32)
        make_room(self.inside)
        caller = Caller(secrets.token_hex(4), "browser", found[0], self.clock() + STAY, browser=True)
        self.inside[digest(cookie)] = caller
        return cookie, caller

    def caller(self, cookie: str) -> Caller | None:
        found = self.inside.get(digest(cookie))
        return found if found and found.expires and found.expires > self.clock() else None

    def leave(self, caller: Caller) -> None:
        self.inside = {key: each for key, each in self.inside.items() if each != caller}


def make_room(kept: dict[str, Any]) -> None:
    if len(kept) >= MOST:
        del kept[next(iter(kept))]
