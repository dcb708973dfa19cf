"""The daemon's process: find it, start it, stop it.

OPTA_HOME/daemon/state.json says where it should be; that it is there is said by the lock, and by an
answer on `/v3/health` from that very process.
"""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from pydantic import ValidationError

from cli.clients import http
from cli.clients.daemon import Address
from cli.output import Exit, Failure, note, warn
from cli.protocol import events, state
from cli.protocol.requests import Health

START_DEADLINE = 30.0
STOP_DEADLINE = 15.0
TAIL = 15
# -P keeps the working directory off the module path: a project may well have a `cli` folder of its own.
PYTHON = (sys.executable, "-P", "-m")


@dataclass(frozen=True)
class Running:
    """A daemon that answered as itself."""

    url: str
    health: Health


def find() -> Running | None:
    """The daemon that state.json names, when it holds the lock and is the one that answers there."""
    known = state.read()
    if known is None or not held():  # a stranger may have the port of a dead one, and its number
        return None
    url = f"http://127.0.0.1:{known.port}"
    health = ask(url)
    if health is None or health.service != "opta-daemon" or health.pid != known.pid:
        return None
    return Running(url, health)


def ask(url: str) -> Health | None:
    """What `/v3/health` says; None when nobody, or somebody else, answers. No token goes to a stranger."""
    try:
        with http.send("GET", f"{url}/v3/health", timeout=2) as answer:
            return Health.model_validate_json(answer.read())
    except (*http.Broken, ValidationError):
        return None


def ensure(say: Callable[[str], None] = note) -> Address:
    """The daemon's address; it is started when it does not run, and `say` told so."""
    running = find()
    if running is None:
        say("Starting the daemon …")
        running = start()
    if running.health.protocol != events.VERSION:
        raise Failure(
            f"The daemon (pid {running.health.pid}, version {running.health.version}) speaks protocol "
            f"{running.health.protocol}, this opta {events.VERSION}.",
            Exit.DAEMON_UNREACHABLE,
            "Run `opta daemon stop`, then try again.",
        )
    for mended in state.mend():
        warn(mended)
    return Address(running.url, state.token())


def start() -> Running:
    """Start the daemon and wait until it answers. Its lock makes one of two starts at once."""
    # One that is about to stop, or to answer, holds the lock: another beside it would only give way.
    running = wait(lambda: find() or not held(), STOP_DEADLINE)
    if isinstance(running, Running):
        return running
    log = state.log_file()
    seen = log.stat().st_size if log.exists() else 0
    process = spawn(log)
    running = wait(lambda: find() or (process.poll() is not None and not held()), START_DEADLINE)
    if isinstance(running, Running):
        return running
    happened = (
        f"did not answer within {START_DEADLINE:.0f} s" if running is None else "ended while it started"
    )
    raise Failure(f"The daemon {happened}. The end of {log}:\n{tail(log, seen)}", Exit.DAEMON_UNREACHABLE)


def spawn(log: Path) -> subprocess.Popen[bytes]:
    """A daemon of its own session that outlives this process, its words appended to the log."""
    with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as out:
        return subprocess.Popen(
            [*PYTHON, "cli.daemon"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd="/",
            start_new_session=True,
        )


def become(module: str, *arguments: str) -> NoReturn:
    """Run a module in place of this process, so that signals and the exit code are its own."""
    os.execv(sys.executable, [*PYTHON, module, *arguments])  # noqa: S606 -- no shell is wanted


def stop() -> int | None:
    """End the daemon and wait until it is gone; its pid, or None when none ran.

    The pid must be the one in our own state.json, and answer on its port as itself.
    """
    running = find()
    if running is None:
        return None
    pid = running.health.pid
    os.kill(pid, signal.SIGTERM)
    if wait(lambda: not held(), STOP_DEADLINE) is None:
        raise Failure(
            f"The daemon (pid {pid}) did not stop within {STOP_DEADLINE:.0f} s of being asked.",
            hint=f"`opta daemon logs` says what it does; `kill -9 {pid}` ends it.",
        )
    return pid


def held() -> bool:
    """Whether a daemon holds the lock. Asking takes a shared lock for an instant."""
    try:
        with state.lock_file().open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def wait(ready: Callable[[], object], deadline: float) -> object:
    """What `ready` returns once that is true; None when the deadline passes first."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        if found := ready():
            return found
        time.sleep(0.05)
    return None


def tail(log: Path, start: int = 0, lines: int = TAIL) -> str:
    """The last lines that were written after `start` bytes."""
    with log.open("rb") as file:
        file.seek(start)
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
