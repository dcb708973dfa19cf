"""`systemctl --user` as far as `opta` asks it, where no systemd runs: it reads the unit and runs it.

    python tests/systemctl.py RECORD --user VERB [--now] [UNIT]

RECORD is a file that gets a line for each call. What a unit starts has the unit's environment and no other.
"""

import os
import shlex
import signal
import subprocess
import sys
import time
from configparser import ConfigParser
from pathlib import Path

import psutil


def service(unit: str) -> dict[str, str]:
    parser = ConfigParser(interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(Path(os.environ["XDG_CONFIG_HOME"]) / "systemd" / "user" / unit)
    return dict(parser["Service"])


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


def running(pids: Path) -> list[psutil.Process]:
    """The supervisor of a unit and what it runs, as far as they are alive."""
    known = pids.read_text().split() if pids.exists() else []
    alive = [psutil.Process(int(pid)) for pid in known if psutil.pid_exists(int(pid))]
    return [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def launch(record: Path, unit: str) -> None:
    command = [sys.executable, __file__, str(record), "--user", "supervise", unit]
    with open(os.devnull, "r+b") as null:
        subprocess.Popen(command, stdin=null, stdout=null, stderr=null, start_new_session=True)


def main() -> None:
    record, words = Path(sys.argv[1]), sys.argv[2:]
    with record.open("a") as file:
        file.write(f"{shlex.join(words)}\n")
    verb, unit, pids = words[1], words[-1], record.with_suffix(".pids")
    if verb == "supervise":
        supervise(unit, pids)
    elif verb == "start":
        while len(running(pids)) == 1:  # what it ran has just ended: it starts it again, or ends as well
            time.sleep(0.02)
        if not running(pids):
            launch(record, unit)
    elif verb == "disable":
        for process in running(pids)[1:]:
            process.send_signal(signal.SIGTERM)
        while running(pids):
            time.sleep(0.02)


if __name__ == "__main__":
    main()
