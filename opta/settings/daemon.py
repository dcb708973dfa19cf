"""The daemon: 127.0.0.1:9999, state in OPTA_HOME."""

from opta import paths
from opta.settings.base import *
from opta.settings.base import LOGGING as OF_ALL

ROOT_URLCONF = "cli.daemon.urls"
WEBSOCKETS = "cli.daemon.consumers.websockets"
INSTALLED_APPS = ["cli.daemon"]
# cli.daemon.auth.Border stands around the whole application, WebSocket included; without it no route works.
MIDDLEWARE = ["cli.daemon.api.dialect.say_not_allowed"]
# The border holds the Host to loopback as well, and answers in the daemon's dialect.
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]"]

_stderr = {**OF_ALL["handlers"]["stderr"], "class": "cli.daemon.logfile.Handler"}
LOGGING = {**OF_ALL, "handlers": {"stderr": _stderr}}

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": paths.private(paths.private(paths.opta_home()) / "daemon") / "daemon.sqlite3",
        "OPTIONS": {
            # FULL: a fact that was answered for survives a power cut, not only a crash.
            # secure_delete: what the user deletes is overwritten, not only given free.
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA secure_delete=ON;",
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
        },
    },
}
