"""The `opta` command as a shell runs it: a process, a home of its own, a real daemon and model behind it."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests import processes
from tests.conftest import speaking
from tests.processes import Role, free_port
from tests.scripted import Scripted, scripted

# Elsewhere than on Linux a daemon is not installed in systemd.
collect_ignore = [] if sys.platform == "linux" else ["test_installation.py"]


class Shell:
    """Runs `opta` in a folder, with a home. The daemon that it starts there is ended by `close`."""

    def __init__(self, home: Path, folder: Path, env: dict[str, str]) -> None:
        self.home = home
        self.folder = folder
        self.env = env

    @classmethod
    def make(cls, home: Path, lmx_url: str) -> "Shell":
        env = {
            **os.environ,
            "OPTA_HOME": str(home / "opta"),
            "OPTA_LMX_URL": lmx_url,
            "OPTA_DAEMON_PORT": str(free_port()),
            "OPTA_SITES_PORT": str(free_port()),
            "PYTHONPATH": str(processes.ROOT),
            "PROMPT_TOOLKIT_NO_CPR": "1",
            "TERM": "xterm",
        }
        return cls(home, home, env)

    def at(self, folder: Path) -> "Shell":
        """The same home and daemon, seen from a folder that a test has for itself."""
        return Shell(self.home, folder, dict(self.env))

    def command(self, *words: str) -> list[str]:
        # -P: a test may stand in a folder with a `cli` of its own.
        return [sys.executable, "-P", "-m", "cli.main", *words]

    def __call__(self, *words: str, input: bytes = b"", **env: str) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            self.command(*words), input=input, env={**self.env, **env}, cwd=self.folder, capture_output=True
        )
        return subprocess.CompletedProcess(words, done.returncode, done.stdout.decode(), done.stderr.decode())

    def start(self, *words: str, **pipes: Any) -> "subprocess.Popen[bytes]":
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | pipes
        return subprocess.Popen(self.command(*words), env=self.env, cwd=self.folder, **pipes)

    def json(self, *words: str) -> Any:
        return json.loads(self(*words, "--json").stdout)

    def sessions(self) -> list[dict[str, Any]]:
        """Those of this folder, newest first."""
        return [session for session in self.json("sessions") if session["cwd"] == str(self.folder)]

    @property
    def daemon_files(self) -> Path:
        return self.home / "opta" / "daemon"

    def close(self) -> None:
        """End the daemon; its process is there a moment longer than its lock."""
        state = self.daemon_files / "state.json"
        pids = [json.loads(state.read_text())["pid"]] if state.exists() else []
        stopped = self("daemon", "stop")
        assert stopped.returncode == 0, stopped.stderr
        _, left = psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], 15)
        assert not left


@pytest.fixture(scope="session")
def make_shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Shell]]:
    made: list[Shell] = []

    def make(lmx_url: str) -> Shell:
        made.append(Shell.make(tmp_path_factory.mktemp("home"), lmx_url))
        return made[-1]

    yield make
    for shell in made:
        shell.close()


@pytest.fixture(scope="session")
def with_lmx(make_shell: Callable[[str], Shell], lmx: Role) -> Shell:
    return make_shell(lmx.url)


@pytest.fixture(scope="session")
def without_lmx(make_shell: Callable[[str], Shell]) -> Shell:
    return make_shell(f"http://127.0.0.1:{free_port()}")


@pytest.fixture
async def model() -> AsyncIterator[Scripted]:
    async with scripted() as script:
        yield script


@pytest.fixture
def scripted_opta(make_shell: Callable[[str], Shell], model: Scripted) -> Shell:
    """A machine of the test's own, whose model says what the test scripts."""
    return make_shell(model.url)


@pytest.fixture
def opta(with_lmx: Shell, tmp_path: Path) -> Shell:
    """A machine with everything; its daemon is shared, the folder is the test's own."""
    return with_lmx.at(tmp_path)


@pytest.fixture
def stranded(without_lmx: Shell, tmp_path: Path) -> Shell:
    """A machine on which LMX does not run; its daemon is shared as well."""
    return without_lmx.at(tmp_path)


@pytest.fixture
def bare(make_shell: Callable[[str], Shell]) -> Iterator[Shell]:
    """A machine of the test's own, on which nothing runs."""
    shell = make_shell(f"http://127.0.0.1:{free_port()}")
    yield shell
    shell.close()


@pytest.fixture(scope="session")
def long_lmx(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[Role]:
    """An LMX whose model says 4000 tokens: time for a command to be run while it speaks."""
    folder = speaking(models, tmp_path_factory.mktemp("longer"), tokens=4000)
    role = processes.lmx(tmp_path_factory.mktemp("lmx"), folder)
    yield role
    role.stop()


@pytest.fixture
def patient(make_shell: Callable[[str], Shell], long_lmx: Role) -> Iterator[Shell]:
    """A machine of the test's own with that LMX: its daemon may be killed."""
    shell = make_shell(long_lmx.url)
    yield shell
    shell.close()
