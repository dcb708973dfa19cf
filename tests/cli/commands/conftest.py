"""The `opta` command as a shell runs it: a process, a home of its own, a real daemon and model behind it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import processes
from tests.processes import Role, free_port


class Shell:
    """Runs `opta` with one home. The daemon it starts is ended by `close`."""

    def __init__(self, home: Path, lmx_url: str) -> None:
        self.home = home
        self.folder = home / "work"
        self.folder.mkdir(parents=True)
        self.env = {
            **os.environ,
            "OPTA_HOME": str(home / "opta"),
            "OPTA_LMX_URL": lmx_url,
            "OPTA_DAEMON_PORT": str(free_port()),
            "OPTA_SITES_PORT": str(free_port()),
            "PYTHONPATH": str(processes.ROOT),
            "PROMPT_TOOLKIT_NO_CPR": "1",
            "TERM": "xterm",
        }

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "cli.main", *words]

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

    @property
    def daemon_files(self) -> Path:
        return self.home / "opta" / "daemon"

    def close(self) -> None:
        self("daemon", "stop")


@pytest.fixture
def make_shell(tmp_path: Path) -> Iterator[Callable[[str], Shell]]:
    made: list[Shell] = []

    def make(lmx_url: str) -> Shell:
        made.append(Shell(tmp_path / str(len(made)), lmx_url))
        return made[-1]

    yield make
    for shell in made:
        shell.close()


@pytest.fixture
def opta(make_shell: Callable[[str], Shell], lmx: Role) -> Shell:
    return make_shell(lmx.url)


@pytest.fixture
def stranded(make_shell: Callable[[str], Shell]) -> Shell:
    """A machine on which LMX does not run."""
    return make_shell(f"http://127.0.0.1:{free_port()}")


@pytest.fixture(scope="session")
def long_winded(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[Role]:
    """An LMX whose model says 4000 tokens, so that there is a middle to break off in."""
    folder = tmp_path_factory.mktemp("long")
    shutil.copytree(models / "opta-tiny", folder / "opta-tiny")
    config = folder / "opta-tiny" / "generation_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "max_new_tokens": 4000}))
    role = processes.lmx(tmp_path_factory.mktemp("lmx"), folder)
    yield role
    role.stop()


@pytest.fixture
def patient(make_shell: Callable[[str], Shell], long_winded: Role) -> Shell:
    return make_shell(long_winded.url)
