"""LMX's refusals, and how each dialect says them.

opta.errors.Refusal
├── UnknownModel      404  model_not_found           no such model on disk
├── LoadFailed        500  model_load_failed         the runner could not load it; the log has why
│   └── LoadCrashed                                  the runner's native code crashed at it
├── RunnerDied        500  runner_died               the process that owned the model ended mid-answer
├── SlowReader        408  reading_too_slowly        the client lets the answer's events wait unread
├── ShuttingDown      503  shutting_down             LMX is being stopped
└── RunnerRefused     4xx  as the runner says        context_length_exceeded, template_error, …
"""

from collections.abc import Callable
from secrets import token_hex
from typing import Any

from opta.errors import Refusal, envelope


class UnknownModel(Refusal):
    status = 404
    code = "model_not_found"


class LoadFailed(Refusal):
    status = 500
    code = "model_load_failed"


class LoadCrashed(LoadFailed):
    """Native code crashed: another way through the same library may not."""


class RunnerDied(Refusal):
    status = 500
    code = "runner_died"


class SlowReader(Refusal):
    status = 408
    code = "reading_too_slowly"


class ShuttingDown(Refusal):
    status = 503
    code = "shutting_down"


class RunnerRefused(Refusal):
    """What only the runner can judge, such as the prompt's length in tokens."""


def anthropic(error: Refusal) -> dict[str, Any]:
    """`{"type", "error": {type, message}, "request_id"}`; source: Anthropic's API reference, "Errors"."""
    kind = "api_error" if error.status >= 500 else ANTHROPIC_TYPES.get(error.status, "invalid_request_error")
    detail = {"type": kind, "message": naming(error)}
    return {"type": "error", "error": detail, "request_id": f"req_{token_hex(12)}"}


ANTHROPIC_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
}


def ollama(error: Refusal) -> dict[str, Any]:
    """`{"error": text}`; source: Ollama's API reference, "Errors"."""
    return {"error": naming(error)}


def naming(error: Refusal) -> str:
    """The message with the field's name in it, for a dialect that has no other place for it."""
    if error.field is None or error.field in error.message:
        return error.message
    return f"{error.field}: {error.message}"


# By the beginning of a path; everything else speaks OpenAI's dialect.
DIALECTS: dict[str, Callable[[Refusal], dict[str, Any]]] = {"/v1/messages": anthropic, "/api/": ollama}


def told(path: str, error: Refusal) -> dict[str, Any]:
    """The body that says `error` in the dialect of `path`."""
    dialect = next((DIALECTS[start] for start in DIALECTS if path.startswith(start)), envelope)
    return dialect(error)
