"""The daemon's process: find it, start it, replace it by a newer one, stop it.

OPTA_HOME/daemon/state.json says where it should be; that it is there is said by the lock, and by an
answer on `/v3/health` from that very process.
"""

import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from pydantic import ValidationError

from cli.clients import http, supervisors
from cli.clients.daemon import Address
from cli.output import Exit, Failure, note, warn
from cli.protocol import events, state
from cli.protocol.requests import HandOff, Health
from opta.version import VERSION

START_DEADLINE = 30.0
STOP_DEADLINE = 15.0
# One that has said where it is answers there within this time, or is hung.
ANSWER_DEADLINE = 5.0
# The turns of a daemon that is replaced have this long to end, unless the user says otherwise.
DRAIN_SECONDS = 30.0
TAIL = 15
# -P keeps the working directory off the module path: a project may well have a `cli` folder of its own.
PYTHON = (sys.executable, "-P", "-m")


@dataclass(frozen=True)
class Running:
    """A daemon that answered as itself; `supervisor` is what started it, and starts it anew."""

    url: str
    health: Health
    supervisor: str = ""

    @property
    def older(self) -> bool:
        return release(self.health.version) < release(VERSION)

    @property
    def newer(self) -> bool:
        return release(self.health.version) > release(VERSION)

    def __str__(self) -> str:
        return f"daemon (pid {self.health.pid}, version {self.health.version})"


def find() -> Running | None:
    """The daemon that state.json names, when it holds the lock and is the one that answers there."""
    known = state.read()
    if known is None or not held():  # a stranger may have the port of a dead one, and its number
        return None
    url = f"http://127.0.0.1:{known.port}"
    health = ask(url)
    if health is None or health.service != "opta-daemon" or health.pid != known.pid:
        return None
    return Running(url, health, known.supervisor)


def ask(url: str) -> Health | None:
    """What `/v3/health` says; None when nobody, or somebody else, answers. No token goes to a stranger."""
    try:
        with http.send("GET", f"{url}/v3/health", timeout=2) as answer:
            return Health.model_validate_json(answer.read())
    except (*http.Broken, ValidationError):
        return None


def ensure(say: Callable[[str], None] = note) -> Address:
    """The daemon's address; it is started when it does not run, replaced when it is older than this
    `opta`, and `say` told so."""
    running = find() or start(say=say)
    if running.older:
        running = replace(running, say=say)
    check(running)
    for mended in state.mend():
        warn(mended)
    return Address(running.url, state.token())


def check(running: Running) -> None:
    """Raises Failure when this `opta` cannot work with it."""
    if running.older:
        raise Failure(
            f"The {running} came back after it was replaced by version {VERSION}.",
            Exit.DAEMON_UNREACHABLE,
            f"{running.supervisor or 'Another opta'} starts it. `opta daemon install` has this one started.",
        )
    if running.health.protocol != events.VERSION:
        advice = f"Update this opta to {running.health.version}, or run" if running.newer else "Run"
        raise Failure(
            f"The {running} speaks protocol {running.health.protocol}, this opta {events.VERSION}.",
            Exit.DAEMON_UNREACHABLE,
            f"{advice} `opta daemon stop`, then try again.",
        )


def start(begin: Callable[[], Running] | None = None, say: Callable[[str], None] = note) -> Running:
    """Start the daemon and wait until it answers; of many starts at once one does, and the others wait."""
    with starting() as claimed:
        # One that is about to stop, or to answer, holds the lock: another beside it would only give way.
        found = wait(lambda: find() or (claimed() and not held()), STOP_DEADLINE + START_DEADLINE)
        if isinstance(found, Running):
            return found
        if not found:
            raise silent(STOP_DEADLINE + START_DEADLINE)
        say("Starting the daemon …")
        return (begin or launch)()


def launch() -> Running:
    """Start the daemon, by what it is installed in if it is, and wait until it answers."""
    if supervisors.start():
        return appear()
    process = spawn(state.log_file())
    return appear(lambda: process.poll() is not None and not held())


def appear(failed: Callable[[], bool] = lambda: False) -> Running:
    """The daemon that was just started, once it answers. Raises Failure with the end of its log."""
    log = state.log_file()
    seen = log.stat().st_size if log.exists() else 0
    running = wait(lambda: find() or failed(), START_DEADLINE)
    if isinstance(running, Running):
        return running
    happened = "ended while it started" if running else f"did not answer within {START_DEADLINE:.0f} s"
    said = tail(log, seen) if log.exists() else ""
    raise Failure(f"The daemon {happened}. The end of {log}:\n{said}", Exit.DAEMON_UNREACHABLE)


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


def replace(
    old: Running,
    seconds: float = DRAIN_SECONDS,
    say: Callable[[str], None] = note,
    begin: Callable[[], Running] | None = None,
) -> Running:
    """Put a daemon of this version in the place of `old`, whose turns have `seconds` to end.

    Meanwhile nobody else starts one: a client that lost the old one waits for this. Raises Failure when
    `old` is newer than this `opta`, or does not leave.
    """
    outrank(old)
    deadline = seconds + STOP_DEADLINE
    with starting() as claimed:
        found = wait(lambda: successor(old) or claimed(), deadline + START_DEADLINE)
        if found is True:
            by = f" by version {VERSION}" if old.older else ""
            say(f"Replacing the {old}{by}; {old.health.active_turns} turns are at work …")
            hand_off(old, seconds)
            found = wait(lambda: successor(old) or not held(), deadline)
        if not found:
            raise silent(deadline)
        return found if isinstance(found, Running) else (begin or launch)()


def outrank(old: Running) -> None:
    """Raises Failure when `old` is newer than this `opta`."""
    if old.newer:
        raise Failure(
            f"The {old} is newer than this opta, {VERSION}, which does not replace it.",
            hint=f"Update this opta to {old.health.version}; `opta daemon stop` ends the daemon.",
        )


def hand_off(old: Running, seconds: float) -> None:
    """Have it end once its turns have, or `seconds` are over; at once when it knows no such request."""
    body = HandOff(seconds=seconds).model_dump_json()
    try:
        said = {"Authorization": f"Bearer {state.token()}"}
        with http.send("POST", f"{old.url}/v3/handoff", body=body, headers=said) as answer:
            accepted = answer.status < 400
    except http.Broken:
        accepted = False
    if not accepted:
        with suppress(ProcessLookupError):
            os.kill(old.health.pid, signal.SIGTERM)


def successor(old: Running) -> Running | None:
    found = find()
    return found if found and found.health.pid != old.health.pid else None


def stop(say: Callable[[str], None] = note) -> int | None:
    """End the daemon and wait until its process is gone; its pid, or None when none ran.

    The pid must be the one in our own state.json, and answer on its port as itself.
    """
    # One that has not said where it is is starting, or at its end.
    deadline = ANSWER_DEADLINE if state.read() else START_DEADLINE
    running = wait(lambda: find() or not held(), deadline)
    if not running:
        raise silent(deadline)
    if not isinstance(running, Running):
        return None
    pid = running.health.pid
    say(f"Stopping the {running}; {running.health.active_turns} turns are cut short …")
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    if not wait(lambda: not alive(pid), STOP_DEADLINE):
        raise silent(STOP_DEADLINE)
    return pid


def alive(pid: int) -> bool:
    """Whether the process is there; one that its parent has not noticed the end of is not."""
    import psutil  # 20 ms that no other command should wait for

    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def silent(seconds: float) -> Failure:
    """What there is to say of one that holds the lock, and neither answers nor ends."""
    lock = state.lock_file()
    pid = (lock.exists() and lock.read_text()) or "PID"
    return Failure(
        f"The daemon (pid {pid}) neither answered nor ended within {seconds:.0f} s.",
        Exit.DAEMON_UNREACHABLE,
        f"`opta daemon logs` says what it does; `kill -9 {pid}` ends it, and loses nothing stored.",
    )


@contextmanager
def starting() -> Iterator[Callable[[], bool]]:
    """Gives what asks whether it is this process's turn to start a daemon; it is until the end."""
    with open(os.open(state.starting_file(), os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:

        def claimed() -> bool:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            try:  # a disk without room is noticed here, where there is somebody to tell
                os.pwrite(file.fileno(), str(os.getpid()).encode(), 0)
            except OSError as error:
                message = f"The daemon cannot start: {state.starting_file()}: {error.strerror}."
                raise Failure(message, hint="Free some space on the disk that holds OPTA_HOME.") from error
            return True

        yield claimed


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
    while True:
        if found := ready():
            return found
        if time.monotonic() > end:
            return None
        time.sleep(0.05)


def tail(log: Path, start: int = 0, lines: int = TAIL) -> str:
    """The last lines that were written after `start` bytes, or of a log that was begun anew since."""
    with log.open("rb") as file:
        file.seek(start if start <= log.stat().st_size else 0)
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])


def release(version: str) -> tuple[int, ...]:
    """The numbers of a version, to compare; what is before a release counts as that release."""
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()
