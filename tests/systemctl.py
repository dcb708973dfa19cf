"""`systemctl --user` as far as `opta` asks it, where no systemd runs: it reads the unit and runs it.

    python tests/systemctl.py RECORD --user VERB [--now] [UNIT]

RECORD is a file that gets a line for each call. What a unit starts has the unit's environment and no other.
"""

import os
import select
import shlex
import signal
import subprocess
import sys
import time
from configparser import ConfigParser
from contextlib import suppress
from pathlib import Path

import psutil


class Unit(ConfigParser):
    """A unit file as far as an INI file goes: an option that is there twice would raise."""

    def __init__(self, text: str) -> None:
        super().__init__(interpolation=None, delimiters=("=",))
        self.read_string(text)

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def service(unit: str) -> dict[str, str]:
    file = Path(os.environ["XDG_CONFIG_HOME"]) / "systemd" / "user" / unit
    return dict(Unit(file.read_text())["Service"])


def supervise(unit: str, pids: Path) -> None:
    """Run it, and again for as long as its exit status asks for that."""
    found = service(unit)
    kept = {key: os.environ[key] for key in ("HOME", "OPTA_TEST_RUN", "PYTHONPATH") if key in os.environ}
    env = {**kept, **dict(pair.split("=", 1) for pair in shlex.split(found["Environment"]))}
    status = int(found["RestartForceExitStatus"])
    while status == int(found["RestartForceExitStatus"]):
        process = subprocess.Popen(shlex.split(found["ExecStart"]), env=env, cwd=found["WorkingDirectory"])
        pids.write_text(f"{os.getpid()} {process.pid}")
        status = process.wait()
        found = service(unit)


def running(pids: Path) -> list[int]:
    """The supervisor of a unit and what it runs, as far as they are alive."""
    known = pids.read_text().split() if pids.exists() else []
    return [int(pid) for pid in known if alive(int(pid))]


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def launch(record: Path, unit: str) -> None:
    command = [sys.executable, __file__, str(record), "--user", "supervise", unit]
    with open(os.devnull, "r+b") as null:
        subprocess.Popen(command, stdin=null, stdout=null, stderr=null, start_new_session=True)


def join(pid: int) -> None:
    """Wait until a process that is no child of ours has ended, also where nobody takes note of its end."""
    with suppress(ProcessLookupError):
        select.select([os.pidfd_open(pid)], [], [])


def main() -> None:
    record, words = Path(sys.argv[1]), sys.argv[2:]
    with record.open("a") as file:
        file.write(f"{shlex.join(words)}\n")
    verb, unit, pids = words[1], words[-1], record.with_suffix(".pids")
    if verb == "supervise":
        supervise(unit, pids)
    elif verb == "start":
        while len(running(pids)) == 1:  # what it ran has just ended: it starts it again, or ends as well
            time.sleep(0.02)  # which of the two, nothing tells another process
        if not running(pids):
            launch(record, unit)
    elif verb == "disable":
        found = running(pids)
        for pid in found[1:]:
            os.kill(pid, signal.SIGTERM)
        for pid in found:
            join(pid)


if __name__ == "__main__":
    main()
