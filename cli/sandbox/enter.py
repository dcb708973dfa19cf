"""Runs a command in the sandbox and sees to it that nothing of it is left: a program of its own.

    enter.py [--landlock] [--spaces] [--network] [--umask N] [--write PATH]… [--hide PATH]… [--keep PATH]…
        [--pin PATH]… COMMAND…

It needs nothing but Python, so that it starts in an instant. It ends as the command does, with 128 and the
signal's number where one ended it; 125 when the sandbox could not be entered, and then nothing has run.
Told to end by SIGTERM, or when its parent dies, it ends all that the command started.
"""

import _signal as signal  # type: ignore[import-not-found]  # `signal` takes as long as all the rest
import os
import sys
from collections.abc import Callable
from contextlib import suppress

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from cli.sandbox import calls, landlock, spaces
from cli.sandbox.landlock import LIBC

NOT_ENTERED = 125
GRACE_SECONDS = 1
PARENT_DEATH, SUBREAPER, DROP_FROM_BOUNDS, LAST_CAPABILITY = 1, 36, 24, 63
# What a program may write that is no file.
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
# Beyond what any build needs: bytes of one file, and processes.
LARGEST, PROCESSES = 64 << 30, 8192

Orders = dict[str, list[str]]


def orders(words: list[str]) -> tuple[Orders, list[str]]:
    given: Orders = {}
    while words and words[0].startswith("--"):
        name = words.pop(0)
        given.setdefault(name, []).extend(
            [] if name in ("--landlock", "--spaces", "--network") else [words.pop(0)]
        )
    return given, words


def main(words: list[str]) -> int:
    given, command = orders(words)
    if sys.platform == "linux":
        LIBC.prctl(PARENT_DEATH, signal.SIGTERM, 0, 0, 0)
    try:
        if "--spaces" in given:
            pinned = given.get("--pin", [])
            spaces.enter(given.get("--keep", []), pinned, network="--network" in given)
            first = child(lambda: look_after(lambda: run(given, command), everyone_here))
            return wait_for(first)
        if sys.platform == "linux":
            LIBC.prctl(SUBREAPER, 1, 0, 0, 0)
        return look_after(lambda: run(given, command), descendants)
    except OSError as error:
        return not_entered(error)


def not_entered(error: OSError) -> int:
    os.write(2, f"The sandbox could not be entered, and nothing has run: {error.strerror}\n".encode())
    return NOT_ENTERED


def child(work: Callable[[], int]) -> int:
    """Its pid. It dies with us."""
    pid = os.fork()
    if pid:
        return pid
    code = NOT_ENTERED
    try:
        if sys.platform == "linux":
            LIBC.prctl(PARENT_DEATH, signal.SIGKILL, 0, 0, 0)
        code = work()
    except OSError as error:
        code = not_entered(error)
    finally:
        os._exit(code)


def wait_for(first: int) -> int:
    """How the first process of its namespace ended, and with it all the others."""
    signal.signal(signal.SIGTERM, lambda *_: os.kill(first, signal.SIGTERM))
    return status(os.waitpid(first, 0)[1])


def look_after(work: Callable[[], int], signal_all: Callable[[int], bool]) -> int:
    """Run it in a child; once it has ended, end all it left. SIGTERM ends it, for certain a second later."""
    if os.getpid() == 1:
        spaces.own_processes()

    def end(*_: object) -> None:
        signal_all(signal.SIGTERM)
        signal.alarm(GRACE_SECONDS)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGALRM, lambda *_: signal_all(signal.SIGKILL) and signal.alarm(GRACE_SECONDS))
    command = child(work)
    pid = ended = 0
    while pid != command:
        pid, ended = os.waitpid(-1, 0)
    signal.alarm(0)
    with suppress(ChildProcessError):
        while signal_all(signal.SIGKILL):
            os.waitpid(-1, 0)
    return status(ended)


def status(ended: int) -> int:
    code = os.waitstatus_to_exitcode(ended)
    return code if code >= 0 else 128 - code


def everyone_here(number: int) -> bool:
    """Signal all of our namespace but ourselves; whether there is anybody."""
    try:
        os.kill(-1, number)
    except ProcessLookupError:
        return False
    return True


def descendants(number: int) -> bool:
    """Signal all that we started and they did; those whose parent died are our own children by now."""
    if sys.platform != "linux":
        return others_of_group(number)
    found = [os.getpid()]
    for parent in found:
        with suppress(OSError), open(f"/proc/{parent}/task/{parent}/children", encoding="ascii") as children:
            found.extend(map(int, children.read().split()))
    for pid in found[1:]:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
    return len(found) > 1


def others_of_group(number: int) -> bool:
    """Where no list of children is: the others of our process group."""
    with os.popen("ps -A -o pid= -o pgid=") as listed:  # noqa: S605 -- no word of it is a user's
        rows = [tuple(map(int, line.split())) for line in listed]
    found = [pid for pid, group in rows if group == os.getpgrp() and pid != os.getpid()]
    for pid in found:
        with suppress(OSError):
            os.kill(pid, number)
    return bool(found)


def run(given: Orders, command: list[str]) -> int:
    """Become the command. Raises OSError."""
    for umask in given.get("--umask", []):
        os.umask(int(umask))
    limit()
    for number in (signal.SIGTERM, signal.SIGALRM, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    if "--landlock" in given:
        for capability in range(LAST_CAPABILITY + 1):
            LIBC.prctl(DROP_FROM_BOUNDS, capability, 0, 0, 0)
        own_net, network = "--spaces" in given, "--network" in given
        shared = [spaces.SHARED_MEMORY] if own_net else []
        writable = [*given.get("--write", []), *shared, *DEVICES]
        landlock.restrict(writable, given.get("--hide", []), tcp=network or own_net)
        calls.restrict(internet=network or own_net)
    os.execvp(command[0], command)  # noqa: S606 -- no shell but the one that is asked for


def limit() -> None:
    import resource

    for what, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, LARGEST),
        (resource.RLIMIT_NPROC, PROCESSES),
    ):
        _, hard = resource.getrlimit(what)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
