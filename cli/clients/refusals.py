"""What a model server says is wrong, in whichever envelope, under a code of ours.

Failure             cli.protocol.failures
├── Unreachable     no connection: nothing was sent, another server may be asked
├── Refused         an answer that is not 200, or an error in the midst of one that was
│   └── Busy        429, 503 or 529: nothing was begun, another server may be asked, or the same one later
└── LeavesLan       cli.clients.lan
"""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from json import dumps
from typing import Any, Self

from pydantic import BaseModel, ValidationError, model_validator

from cli.protocol.failures import HINTS, Failure

UNAUTHORIZED = (401, 403)
BUSY = (429, 503, 529)


class Unreachable(Failure):
    pass


class Refused(Failure):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(code, message)
        self.status = status


class Busy(Refused):
    """`after` are the seconds until the server wants to be asked again; None when it does not say."""

    def __init__(self, refused: Refused, after: float | None) -> None:
        super().__init__(refused.status, refused.code, refused.message)
        self.after = after


class Wire(BaseModel):
    """The base of what a server says: null is as good as nothing, and what is not known is passed over."""

    @model_validator(mode="before")
    @classmethod
    def without_nulls(cls, said: Any) -> Any:
        return (
            {key: each for key, each in said.items() if each is not None} if isinstance(said, dict) else said
        )


class Error(Wire):
    message: str = ""
    code: str | int | None = None
    type: str | None = None

    @model_validator(mode="before")
    @classmethod
    def bare(cls, said: Any) -> Any:
        return {"message": said} if isinstance(said, str) else said

    @model_validator(mode="after")
    def in_words(self) -> Self:
        self.message = self.message or f"It gave no reason ({self.type or self.code or 'nothing at all'})."
        return self


class Envelope(Wire):
    """OpenAI's and Anthropic's `error`, Ollama's as a text; vLLM's error by itself; FastAPI's `detail`."""

    error: Error | None = None

    @model_validator(mode="before")
    @classmethod
    def others(cls, said: Any) -> Any:
        if not isinstance(said, dict) or said.get("error"):
            return said
        if said.get("object") == "error":
            return {"error": said}
        if detail := said.get("detail"):
            return {"error": detail if isinstance(detail, str) else dumps(detail)}
        return said


def read(url: str, status: int, body: bytes) -> Error:
    """What the body of a refusal says; the body itself where it is in none of the envelopes."""
    try:
        error = Envelope.model_validate_json(body).error
    except ValidationError:
        error = None
    return error or Error(message=f"{url} answered {status}: {body[:200].decode(errors='replace')!r}.")


def failure(status: int, error: Error) -> Refused:
    """An error as it is known here."""
    code = "upstream_error" if status >= 500 else "upstream_refused"
    if isinstance(error.code, str) and error.code in HINTS:
        code = error.code
    elif status in UNAUTHORIZED:
        code = "provider_unauthorized"
    elif status in BUSY:
        code = "provider_busy"
    return Refused(status, code, error.message)


def midst(error: Error) -> Refused:
    """The same of an error under a 200: some servers give the status it would have had as its code."""
    status = error.code if isinstance(error.code, int) and 400 <= error.code < 600 else 500
    return failure(status, error)


def seconds(retry_after: str) -> float | None:
    """Retry-After, which is seconds or a date (RFC 9110, 10.2.3); None when it is neither."""
    if retry_after.isascii() and retry_after.replace(".", "", 1).isdigit():
        return float(retry_after)
    try:
        return max(0.0, (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
