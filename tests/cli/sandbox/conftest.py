"""A world around a sandbox, in which whatever a command must not touch can be seen to be untouched."""

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from cli.sandbox.box import Ability, Box

SECRET = "hush-4711"


class World:
    """A workspace with a repository, a home with secrets, a folder outside, servers, and another process."""

    def __init__(self, root: Path, victim: subprocess.Popen[bytes]) -> None:
        self.root, self.victim = root, victim
        self.workspace, self.home, self.outside = root / "workspace", root / "home", root / "outside"
        self.opta, self.temporary = root / "opta", root / "temporary"
        for folder in (self.workspace / ".git" / "hooks", self.home / ".ssh", self.outside, self.temporary):
            folder.mkdir(parents=True)
        (self.opta / "daemon").mkdir(parents=True)
        (self.workspace / ".git" / "config").write_text("[core]\n\tbare = false\n")
        (self.workspace / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
        (self.workspace / ".git" / "hooks" / "pre-commit").write_text("exit 0\n")
        (self.home / ".ssh" / "id_rsa").write_text(SECRET)
        (self.home / ".bashrc").write_text("# mine\n")
        (self.opta / "daemon" / "token").write_text(SECRET)
        (self.outside / "file").write_text("mine\n")
        self.reached: list[str] = []
        self.servers = [self.listen(socket.AF_INET, ("127.0.0.1", 0), "tcp")]
        self.port = self.servers[0].getsockname()[1]
        self.abstract = f"opta-test-{os.getpid()}-{self.port}"
        self.listen_unix()
        self.kept = self.seen()

    def listen_unix(self) -> None:
        before = os.getcwd()
        os.chdir(self.root)  # a socket's path is short
        try:
            self.servers.append(self.listen(socket.AF_UNIX, "socket", "unix"))
        finally:
            os.chdir(before)
        self.servers.append(self.listen(socket.AF_UNIX, f"\0{self.abstract}", "abstract"))

    def listen(self, family: int, address: object, name: str) -> socket.socket:
        server = socket.socket(family)
        server.bind(address)
        server.listen()

        def serve() -> None:
            while True:
                try:
                    server.accept()[0].close()
                except OSError:
                    return
                self.reached.append(name)

        Thread(target=serve, daemon=True).start()
        return server

    def seen(self) -> dict[str, bytes]:
        """All files that a command must leave as they are."""
        protected = [
            self.workspace / ".opta",
            self.workspace / ".git" / "hooks",
            self.workspace / ".git" / "config",
        ]
        found = [
            file
            for folder in (self.home, self.outside, self.opta, *protected)
            for file in (folder, *folder.rglob("*"))
        ]
        return {str(file): file.read_bytes() for file in found if file.is_file()}

    @property
    def env(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "OUTSIDE": str(self.outside),
            "OPTA": str(self.opta),
            "ROOT": str(self.root),
            "PORT": str(self.port),
            "ABSTRACT": self.abstract,
            "VICTIM": str(self.victim.pid),
        }

    def run(
        self, script: str, able: Ability | None, *, network: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """What bash does with the script: in the sandbox, or in none without an `able`."""
        box = Box(self.workspace, self.temporary, network, able)
        words = ["bash", "-c", script]
        return subprocess.run(
            box.command(words) if able else words,
            cwd=self.workspace,
            env=self.env | {"TMPDIR": str(self.temporary)},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=20,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def harm(self, printed: str) -> list[str]:
        """What went wrong in this world."""
        now = self.seen()
        changed = {path for path in now.keys() | self.kept.keys() if now.get(path) != self.kept.get(path)}
        found = [f"changed {path}" for path in sorted(changed)]
        found += [f"reached {name}" for name in self.reached]
        found += ["read a secret"] if SECRET in printed else []
        return found + (["ended another process"] if self.victim.poll() is not None else [])


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OPTA_HOME", str(tmp_path / "opta"))
    victim = subprocess.Popen(["sleep", "600"])
    world = World(tmp_path, victim)
    yield world
    for server in world.servers:
        server.close()
    victim.kill()
    victim.wait()
