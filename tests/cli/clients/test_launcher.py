"""The launcher: a hundred first starts at once, and homes that hold nothing or take nothing."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cli.clients.launcher import release
from tests.processes import ROOT, free_port

STARTS = 100
# So many processes that have imported what `opta` does, let go at once; each says what it found, or that
# it failed. One import for all is what makes a hundred of them cheap.
CROWD = """
import os, sys
from cli.clients import launcher
ready, go = os.pipe()
children = []
for _ in range(int(sys.argv[1])):
    if not (child := os.fork()):
        os.close(go)
        os.read(ready, 1)
        try:
            found = launcher.ensure()
            os.write(1, f"{found.url} {found.token}\\n".encode())
        except Exception as error:  # whatever it is, the test shows it
            os.write(2, f"{error}\\n".encode())
        os._exit(0)
    children.append(child)
os.close(go)
for child in children:
    os.waitpid(child, 0)
"""


@pytest.fixture
def env(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a home of its own; the daemon that is started there is ended."""
    env = {
        **os.environ,
        "OPTA_HOME": str(tmp_path / "opta"),
        "OPTA_DAEMON_PORT": str(free_port()),
        "OPTA_LMX_URL": "http://127.0.0.1:1",
    }
    yield env
    opta(env, "daemon", "stop")
    _, left = psutil.wait_procs(daemons(env), 15)
    assert not left


def opta(env: dict[str, str], *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "cli.main", *words]
    return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True)


def daemons(env: dict[str, str]) -> list[psutil.Process]:
    """The processes of this home that are a daemon, or on the way to be one."""
    return [process for process in psutil.process_iter() if serves(process, env["OPTA_HOME"])]


def serves(process: psutil.Process, home: str) -> bool:
    try:
        words, found = process.cmdline(), process.environ().get("OPTA_HOME")
    except psutil.Error:  # it ended meanwhile, or is somebody else's
        return False
    return "cli.daemon" in words and found == home


def test_a_hundred_first_starts_give_one_daemon_one_token_and_nothing_else(env: dict[str, str]):
    done = subprocess.run(
        [sys.executable, "-c", CROWD, str(STARTS)], env=env, cwd=ROOT, capture_output=True, text=True
    )
    said = done.stdout.split("\n")[:-1]
    assert (len(said), len(set(said)), done.stderr) == (STARTS, 1, "")
    folder = Path(env["OPTA_HOME"]) / "daemon"
    known = json.loads((folder / "state.json").read_text())
    assert said[0] == f"http://127.0.0.1:{known['port']} {(folder / 'token').read_text()}"
    assert [process.pid for process in daemons(env)] == [known["pid"]]
    assert "runs already" not in (folder / "daemon.log").read_text()  # none was even tried in vain
    files = {file.name for file in folder.iterdir() if not file.name.startswith("daemon.sqlite3")}
    assert files - {"jobs"} == {"daemon.log", "lock", "starting", "state.json", "token"}


def test_a_stranger_that_has_the_number_of_a_dead_daemon_is_left_alone(env: dict[str, str]):
    """What a crash leaves: a state, a token and a lock that nobody holds, and its pid is used again."""
    folder = Path(env["OPTA_HOME"]) / "daemon"
    folder.mkdir(parents=True, mode=0o700)
    state = {"pid": os.getpid(), "port": int(env["OPTA_DAEMON_PORT"]), "version": "0.0.1", "protocol": 1}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "token").write_text("old")
    (folder / "lock").write_text(str(os.getpid()))
    assert "No daemon was running" in opta(env, "daemon", "stop").stdout
    assert "started" in opta(env, "daemon", "start").stdout
    assert json.loads((folder / "state.json").read_text())["pid"] != os.getpid()
    assert (folder / "token").read_text() != "old"


def test_a_home_that_takes_nothing_is_named(env: dict[str, str], tmp_path: Path):
    (tmp_path / "opta").write_text("a file, where a folder should be")
    done = opta(env, "sessions")
    (tmp_path / "opta").unlink()
    assert done.returncode == 1
    assert str(tmp_path / "opta") in done.stderr
    assert "Traceback" not in done.stderr


def test_a_home_where_nobody_may_write_is_named(env: dict[str, str]):
    home = "/System/opta" if sys.platform == "darwin" else "/sys/opta"
    done = opta({**env, "OPTA_HOME": home}, "sessions")
    assert done.returncode in (1, 77)
    assert home in done.stderr
    assert "fault" not in done.stderr


def test_a_disk_without_room_is_said_and_nothing_is_left_behind(env: dict[str, str]):
    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    command = [sys.executable, "-m", "cli.main", "sessions"]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, preexec_fn=full)
    assert done.returncode == 1
    assert "Free some space" in done.stderr
    assert daemons(env) == []


@pytest.mark.parametrize(
    ("older", "newer"), [("0.1.0", "0.1.1"), ("0.9.0", "0.10.0"), ("1", "1.0.1"), ("", "0.1.0")]
)
def test_versions_are_compared_by_their_numbers(older: str, newer: str):
    assert release(older) < release(newer)
    assert release(f"{newer}rc1") == release(newer)
