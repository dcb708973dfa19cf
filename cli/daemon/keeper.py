"""Runs one job and keeps what it writes and how it ends, in a folder; lives on when the daemon dies.

A program of its own: FOLDER UMASK COMMAND…. It says on its output, in one line of JSON, the pid or why there
is none. It needs nothing but Python, so that it starts in an instant. In the folder:

    pid             of the command, which leads a session and a process group of its own
    output.<n>      what the command wrote from its n-th byte on; the last KEPT such files stay
    ended           the command's exit status, negative for the signal that ended it
"""

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

SEGMENT = 1_000_000
KEPT = 8
PIECE = 65_536
# What the command left running gets so long to end by itself.
GRACE_SECONDS = 2.0
INSTANT = 0.05
# Between tries to write on a full disk: the command waits meanwhile, and nothing is lost.
RETRY_SECONDS = 0.5
RETRIES = 120


class Output:
    """The files that the output goes to, one after the other."""

    def __init__(self, folder: Path, over: threading.Event) -> None:
        self.folder = folder
        # Set when the command is gone: from then on nobody waits for a full disk.
        self.over = over
        self.starts: list[int] = []
        self.next = 0
        self.file = -1
        # Whether nobody has the command's output open any more.
        self.whole = False

    def write(self, data: bytes) -> None:
        while data:
            try:
                if not self.starts or self.next - self.starts[-1] >= SEGMENT:
                    self.turn()
                room = SEGMENT - (self.next - self.starts[-1])
                written = os.write(self.file, data[:room])
            except OSError:
                if self.over.wait(RETRY_SECONDS):
                    return
                continue
            self.next += written
            data = data[written:]

    def turn(self) -> None:
        """Go on in a new file; the oldest goes once there are enough of them."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        before, self.file = self.file, os.open(self.folder / f"output.{self.next}", flags, 0o600)
        self.starts.append(self.next)
        if before >= 0:
            os.close(before)
        while len(self.starts) > KEPT:
            (self.folder / f"output.{self.starts.pop(0)}").unlink(missing_ok=True)


def keep(folder: Path, umask: int, command: list[str]) -> int:
    source, sink = os.pipe()
    try:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True, umask=umask
        )
    except OSError as error:
        return say({"error": f"{command[0]}: {error.strerror}"})
    os.close(sink)
    # Only now: the command must not begin with signals that it ignores.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    store(folder / "pid", str(child.pid))
    say({"pid": child.pid})
    over = threading.Event()
    code = record(child, source, Output(folder, over), over)
    store(folder / "ended", str(code))
    return 0


def say(line: dict[str, object]) -> int:
    """Tell the daemon, and let go of its pipe."""
    with suppress(OSError):  # it died meanwhile: the next one reads the folder
        os.write(1, json.dumps(line).encode() + b"\n")
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    return 1


def record(child: "subprocess.Popen[bytes]", source: int, output: Output, over: threading.Event) -> int:
    """Take the output down until the command and all of its group are gone; gives the exit status."""
    ended, ending = os.pipe()

    def wait() -> None:
        child.wait()
        over.set()
        os.close(ending)

    threading.Thread(target=wait, daemon=True).start()
    while not over.is_set():
        take(source, ended, output)
    # What the command left behind in its group ends with it.
    end(child.pid, signal.SIGTERM)
    still = time.monotonic() + GRACE_SECONDS
    while end(child.pid, 0) and time.monotonic() < still:
        take(source, None, output)
    end(child.pid, signal.SIGKILL)
    still = time.monotonic() + GRACE_SECONDS
    while take(source, None, output) and time.monotonic() < still:
        pass
    return child.returncode


def take(source: int, ended: int | None, output: Output) -> bool:
    """Write down what comes next, or wait for `ended`; without it no longer than an instant."""
    waiting = [each for each in (None if output.whole else source, ended) if each is not None]
    ready, _, _ = select.select(waiting, [], [], INSTANT if ended is None else None)
    if source not in ready:
        return False
    data = os.read(source, PIECE)
    output.write(data)
    output.whole = not data
    return not output.whole


def end(group: int, number: int) -> bool:
    """Send all of a group a signal, 0 to send none; whether there is anybody in it."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # the latter is what macOS says of zombies
        return False
    return True


def store(file: Path, text: str) -> None:
    """Write a small file at once, as soon as the disk takes it."""
    draft = file.with_suffix(".new")
    for _ in range(RETRIES):
        try:
            draft.write_text(text)
            draft.replace(file)
            return
        except FileNotFoundError:
            return  # the folder was taken away: nobody asks any more
        except OSError:
            time.sleep(RETRY_SECONDS)  # a disk that has room again wakes nobody


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(keep(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
