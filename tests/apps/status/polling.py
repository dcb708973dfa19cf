"""One poll by the real task, in a process with the settings of the sites it is for."""

import os
import subprocess
import sys

from tests.processes import ROOT, Role, free_port


def nobody() -> dict[str, str]:
    """An environment in which LMX and the daemon are where nothing listens, and the data in SQLite."""
    url = f"http://127.0.0.1:{free_port()}"
    return {"DATABASE_URL": "", "OPTA_LMX_URL": url, "OPTA_DAEMON_URL": url}


def poll(sites: Role) -> None:
    code = "from apps.status.tasks import poll; poll()"
    command = [sys.executable, "manage.py", "shell", "--verbosity=0", "-c", code]
    subprocess.run(command, cwd=ROOT, env={**os.environ, **sites.env}, check=True)
