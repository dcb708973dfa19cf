"""Every refusal of the daemon, and its dialect: `application/problem+json` (RFC 9457).

Refusal                 opta.errors
├── UnknownSession      404
├── Conflict            409  an id that exists, for something else
├── Stopping            503  the daemon is on its way out
├── StorageFailed       503  SQLite did not take it
└── StorageFull         507  there is no room for it
"""

from http import HTTPStatus

from cli.protocol.requests import Problem
from opta.errors import Refusal


class UnknownSession(Refusal):
    status = 404
    code = "unknown_session"

    def __init__(self, id: str) -> None:
        super().__init__(f"There is no session {id!r}. `opta sessions` lists those there are.")


class Conflict(Refusal):
    status = 409
    code = "conflict"


class Stopping(Refusal):
    status = 503
    code = "daemon_stopped"

    def __init__(self) -> None:
        super().__init__("The daemon is stopping. Start it again with `opta daemon start`.")


class StorageFailed(Refusal):
    status = 503
    code = "storage_failed"


class StorageFull(Refusal):
    status = 507
    code = "storage_full"


def problem(refusal: Refusal) -> bytes:
    """The body that says `refusal`."""
    return (
        Problem(
            title=HTTPStatus(refusal.status).phrase,
            status=refusal.status,
            detail=refusal.message,
            code=refusal.code,
            field=refusal.field,
        )
        .model_dump_json(exclude_none=True)
        .encode()
    )
