"""All that opens the daemon: its own token, the tokens of other programs, and the cookies of browsers."""

import hmac
import math
from collections.abc import Sequence
from pathlib import Path

from cli.daemon.access.browsers import Browsers
from cli.daemon.access.connections import Connections
from cli.daemon.access.limits import Buckets
from cli.daemon.access.scopes import allows
from cli.daemon.access.tokens import Caller, Tokens
from cli.protocol.access import Scope
from opta.errors import Refusal

# A second, and at once: far above what people and their programs do, far below what fills a disk unseen.
WRITES = (200.0, 2000)
# The same for whoever comes without a key. One who has it is never made to wait for those who have not.
FAILURES = (10.0, 1000)


class TooMany(Refusal):
    status = 429
    code = "too_many_requests"

    def __init__(self, what: str, seconds: float) -> None:
        wait = math.ceil(seconds)
        super().__init__(f"Too many {what}. Try again in {wait} s.", retry_after=wait)


class Unauthorized(Refusal):
    status = 401
    code = "unauthorized"


class Forbidden(Refusal):
    status = 403
    code = "forbidden"


class Keys:
    """Made once at the daemon's start; `own` is the token in OPTA_HOME/daemon/token, new at each."""

    def __init__(self, own: str, stored: Path) -> None:
        self.own = own.encode()
        self.tokens = Tokens(stored)
        self.browsers = Browsers()
        self.connections = Connections()
        self.writes, self.failures = Buckets(*WRITES), Buckets(*FAILURES)

    def caller(self, authorization: Sequence[str], cookies: Sequence[str], port: int) -> Caller | None:
        """Who sent these headers; one that is there twice counts as none. A token goes before a cookie."""
        if authorization:
            return self.bearer(*authorization) if len(authorization) == 1 else None
        value = cookie(cookies[0], cookie_name(port)) if len(cookies) == 1 else None
        return self.browsers.caller(value) if value else None

    def bearer(self, authorization: str) -> Caller | None:
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return None
        if hmac.compare_digest(given.encode(), self.own):
            return OWN
        return self.tokens.caller(given)

    def denied(self, peer: str, refusal: Refusal) -> Refusal:
        """What to answer to somebody without a key: `refusal`, or that it was tried too often."""
        wait = self.failures.take(peer)
        return TooMany("requests without a valid token", wait) if wait else refusal

    def permit(self, caller: Caller, need: Scope, what: str, *, write: bool) -> None:
        """Raises Forbidden for a scope below what `what` needs, TooMany after too many writes."""
        if not allows(caller.scope, need):
            raise Forbidden(f"{what} needs the scope {need!r}; {caller.name} has {caller.scope!r}.")
        if write and (wait := self.writes.take(caller.id)):
            raise TooMany(f"writes by {caller.name}", wait)


OWN = Caller("own", "the daemon's own token", "admin")


def cookie_name(port: int) -> str:
    """A browser keeps one cookie of a name for all ports of a host."""
    return f"opta-{port}"


def cookie(header: str, name: str) -> str | None:
    pairs = (part.strip().partition("=") for part in header.split(";"))
    return next((value for key, _, value in pairs if key == name), None)
