"""Every refusal of the daemon, and its dialects: `application/problem+json` (RFC 9457), below /v1 OpenAI's.

Refusal                 opta.errors
├── Unknown             404  nothing has this id
│   ├── UnknownSession
│   ├── UnknownRequest       or it waits for no answer any more
│   ├── UnknownTurn
│   ├── UnknownJob
│   └── UnknownRule
├── BadRules            409  a file of permission rules that cannot be read
├── Untrusted           403  the folder is none that commands may run in
├── Conflict            409  an id that exists, for something else; a turn that is in no state for it
│   └── Behind          409  more has happened than the client has seen
├── Stopping            503  the daemon is on its way out
│   └── Replaced        503  for another one, in which what waits goes on
├── StorageFailed       503  SQLite did not take it
└── StorageFull         507  there is no room for it
"""

import shlex
from http import HTTPStatus
from pathlib import Path

from pydantic_core import to_json

from cli.protocol.requests import Problem
from opta.errors import Refusal, envelope


class Unknown(Refusal):
    """What a subclass names does not exist; its `wording` has a place for the id."""

    status = 404
    wording: str

    def __init__(self, id: str) -> None:
        super().__init__(self.wording.format(repr(id)))


class UnknownSession(Unknown):
    code = "unknown_session"
    wording = "There is no session {}. `opta sessions` lists those there are."


class UnknownRequest(Unknown):
    code = "unknown_request"
    wording = "No permission request {} is open: it was answered, or its turn has ended."


class UnknownTurn(Unknown):
    code = "unknown_turn"
    wording = "The session has no turn {}."


class UnknownJob(Unknown):
    code = "unknown_job"
    wording = "There is no job {}. `opta jobs list` shows those there are."


class UnknownRule(Unknown):
    code = "unknown_rule"
    wording = "There is no rule {}. `opta permissions list` shows those there are."


class BadRules(Refusal):
    status = 409
    code = "bad_permissions"


class Untrusted(Refusal):
    status = 403
    code = "untrusted"

    def __init__(self, folder: Path) -> None:
        where = shlex.quote(str(folder))
        super().__init__(f"{folder} is not trusted. If you know what is in it: opta trust {where}")


class Conflict(Refusal):
    status = 409
    code = "conflict"


class Behind(Conflict):
    """`seq` is the last event that the client should have seen."""

    code = "behind"

    def __init__(self, seen: int, seq: int) -> None:
        super().__init__(
            f"The session has gone on to event {seq} since {seen}. Read what is new, and submit again.",
            field="last_seen_seq",
        )
        self.seq = seq


class Stopping(Refusal):
    status = 503
    code = "daemon_stopped"

    def __init__(self, message: str = "The daemon is stopping. Start it again with `opta daemon start`."):
        super().__init__(message)


class Replaced(Stopping):
    code = "daemon_replaced"

    def __init__(self) -> None:
        super().__init__("The daemon is being replaced. Connect again, and go on after the last event seen.")


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
            seq=refusal.seq if isinstance(refusal, Behind) else None,
        )
        .model_dump_json(exclude_none=True)
        .encode()
    )


def document(refusal: Refusal, path: str) -> tuple[str, bytes]:
    """The media type and body that say `refusal` to who asked for `path`."""
    if path.startswith("/v1/"):
        return "application/json", to_json(envelope(refusal))
    return "application/problem+json", problem(refusal)
