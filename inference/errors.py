"""LMX's refusals, and OpenAI's way of saying them.

opta.errors.Refusal
├── UnknownModel      404  model_not_found           no such model on disk
├── LoadFailed        500  model_load_failed         the runner could not load it; the log has why
├── RunnerDied        500  runner_died               the process that owned the model ended mid-answer
├── ShuttingDown      503  shutting_down             LMX is being stopped
└── RunnerRefused     4xx  as the runner says        context_length_exceeded, template_error, …
"""

from typing import Any

from opta.errors import Refusal


class UnknownModel(Refusal):
    status = 404
    code = "model_not_found"


class LoadFailed(Refusal):
    status = 500
    code = "model_load_failed"


class RunnerDied(Refusal):
    status = 500
    code = "runner_died"


class ShuttingDown(Refusal):
    status = 503
    code = "shutting_down"


class RunnerRefused(Refusal):
    """What only the runner can judge, such as the prompt's length in tokens."""


def envelope(error: Refusal) -> dict[str, Any]:
    """`{"error": {message, type, param, code}}`; source: OpenAI's API reference, "Errors"."""
    kind = "server_error" if error.status >= 500 else "invalid_request_error"
    return {"error": {"message": error.message, "type": kind, "param": error.field, "code": error.code}}
