"""What the daemon's border adds to a request: the time of its checks alone, for each kind of key.

    python -m tests.bench.border

Prints microseconds, the least of several runs; the status is 1 when one is above the bound.
"""

import os
import secrets
import sys
import tempfile
import timeit
from pathlib import Path
from typing import Any

import django

from cli.daemon.access.keys import Keys
from cli.daemon.access.tokens import MOST
from cli.protocol.access import TokenCreate

BOUND, ROUNDS, REQUESTS = 100.0, 7, 2000
ORIGIN = "http://127.0.0.1:9999"


def request(method: str, **headers: str) -> dict[str, Any]:
    said = {"host": "127.0.0.1:9999", "user-agent": "bench", "accept": "*/*", **headers}
    if method == "POST":
        said |= {"content-type": "application/json", "content-length": "20"}
    return {
        "type": "http",
        "method": method,
        "path": "/v3/sessions/0123456789abcdef/turns",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in said.items()],
        "server": ("127.0.0.1", 9999),
        "client": ("127.0.0.1", 1),
    }


def requests(keys: Keys) -> dict[str, dict[str, Any]]:
    """The last of as many tokens as there can be takes longest to find."""
    made = [keys.tokens.create(TokenCreate(name=str(n), scope="write")).token for n in range(MOST)]
    cookie, _ = keys.browsers.admit(keys.browsers.invite("write"))
    return {
        "own token, GET": request("GET", authorization=f"Bearer {keys.own.decode()}"),
        "own token, POST": request("POST", authorization=f"Bearer {keys.own.decode()}"),
        f"one of {MOST} tokens, POST": request("POST", authorization=f"Bearer {made[-1]}"),
        "cookie, POST": request("POST", cookie=f"opta-9999={cookie}", origin=ORIGIN),
    }


def main() -> int:
    os.environ |= {"OPTA_HOME": tempfile.mkdtemp(), "DJANGO_SETTINGS_MODULE": "opta.settings.daemon"}
    django.setup()
    from cli.daemon.auth import admit  # it needs what was just set up

    keys = Keys(secrets.token_urlsafe(32), Path(tempfile.mkdtemp()) / "tokens.json")
    keys.writes.rate = float("inf")
    missed = 0
    for name, scope in requests(keys).items():
        runs = timeit.repeat(lambda scope=scope: admit(scope, keys), number=REQUESTS, repeat=ROUNDS)
        took = min(runs) / REQUESTS * 1e6
        missed |= took > BOUND
        print(f"{name:<26} {took:6.1f} µs")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
