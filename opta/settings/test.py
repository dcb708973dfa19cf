"""All roles in one process, for pytest; `role()` in `tests/conftest.py` gives a test one role's wiring."""

import tempfile
from pathlib import Path

from opta.settings.sites import *
from opta.settings.sites import DATABASES, INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "cli.daemon", "inference"]
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A file, not memory: tests run threads and processes against it, as the roles do.
    DATABASES["default"]["TEST"] = {"NAME": str(Path(tempfile.mkdtemp()) / "test.sqlite3")}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
