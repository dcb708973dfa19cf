"""What every border's exception tree grows from, and how OpenAI's dialect says any of it.

Refusal                     a request we understand and will not do: status, code, message, field
└── each border's own tree  inference/errors.py, cli/daemon/errors.py
"""

from typing import Any


class Refusal(Exception):
    """An answer that is not 2xx: `message` says what happened, to which thing, and what to do next.

    `field` names the part of the request that is wrong, as a dotted path, when one part is;
    `retry_after` is in how many seconds the same request may succeed.
    """

    status = 400
    code = "invalid_request"

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        status: int | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.status = status or self.status
        self.code = code or self.code
        self.retry_after = retry_after


def envelope(refusal: Refusal) -> dict[str, Any]:
    """`{"error": {message, type, param, code}}`; source: OpenAI's API reference, "Errors"."""
    kind = "server_error" if refusal.status >= 500 else "invalid_request_error"
    return {"error": {"message": refusal.message, "type": kind, "param": refusal.field, "code": refusal.code}}
