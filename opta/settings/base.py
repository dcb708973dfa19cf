"""What every role has in common: the domain, the language, the clock and the log."""

import logging
from typing import Any

from opta import body, env

DOMAIN = env.text("OPTA_DOMAIN", "opta.localhost")
# On a .localhost domain everything is on this machine: plain HTTP and generated secrets.
LOCAL = DOMAIN.endswith(".localhost")
# Off on a developer's machine too: one sees the error pages that users see, and the trace in the log.
DEBUG = env.flag("DEBUG")

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# LMX and the daemon refuse a larger body with 413 while it comes in.
DATA_UPLOAD_MAX_MEMORY_SIZE = body.LIMIT
# The dotted name of this role's WebSocket application; empty where it has none.
WEBSOCKETS = ""


# uvicorn takes a WebSocket that was denied by an answer of ours for one that got none.
DENIED = "ASGI callable returned without completing handshake."


def is_news(record: logging.LogRecord) -> bool:
    """A 503 is what a health check says to whoever asked; it is no error of the server that says it."""
    return getattr(record, "status_code", 0) != 503 and record.msg != DENIED


LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s", "datefmt": "%H:%M:%S"},
    },
    "filters": {"news": {"()": "django.utils.log.CallbackFilter", "callback": is_news}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["news"]}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
    "loggers": {
        # Django's own handlers would print each line twice; its request log is noise beside the error pages.
        "django": {"handlers": [], "level": "INFO"},
        "django.request": {"level": "ERROR"},
        # A line for every health poll would bury what matters.
        "httpx": {"level": "WARNING"},
        "uvicorn.access": {"level": "WARNING"},
        # Of every WebSocket it would tell the URL, and with it a token that somebody put there.
        "uvicorn.error": {"level": "WARNING"},
    },
}
