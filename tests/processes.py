"""Real roles as processes of their own, on free ports and in folders of their own."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx

ROOT = Path(__file__).parent.parent
DEADLINE = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(true: Callable[[], object], what: str, deadline: float = DEADLINE) -> None:
    """Poll until `true()` is; a wait for a condition, with the condition's name in the failure."""
    end = time.monotonic() + deadline
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {deadline:.0f} s for {what}")
        time.sleep(0.02)


def answers(url: str, **headers: str) -> bool:
    try:
        return httpx.get(url, headers=headers, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


@dataclass
class Role:
    """One running process of ours; its output goes to a file, shown when it did not start."""

    command: list[str]
    url: str
    home: Path
    env: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self, ready: str, **headers: str) -> "Role":
        """Start it, and wait until `ready` (a path below `url`) answers 200."""
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                self.command, env={**os.environ, **self.env}, cwd=ROOT, stdout=out, stderr=out
            )
        try:
            wait_until(lambda: self.ended or answers(self.url + ready, **headers), f"{self.url}{ready}")
        except TimeoutError:
            self.kill()
            raise AssertionError(self.log.read_text()) from None
        assert not self.ended, self.log.read_text()
        return self

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    @property
    def token(self) -> str:
        """The daemon's token, as a client reads it."""
        return (self.home / "daemon" / "token").read_text()

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """End it as the system would; the exit status."""
        if not self.ended:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.command} outlived SIGTERM by 15 s\n{self.log.read_text()}") from None


def lmx(folder: Path, models: Path, **env: str) -> Role:
    port = free_port()
    env = {"LMX_HOME": str(folder / "lmx"), "LMX_MODELS": str(models), "LMX_PORT": str(port), **env}
    command = [sys.executable, "manage.py", "lmx"]
    return Role(command, f"http://127.0.0.1:{port}", folder, env, folder / "lmx.log").start("/healthz")


def daemon(home: Path, lmx_url: str, **env: str) -> Role:
    port = free_port()
    home.mkdir(parents=True, exist_ok=True)
    env = {"OPTA_HOME": str(home), "OPTA_DAEMON_PORT": str(port), "OPTA_LMX_URL": lmx_url, **env}
    command = [sys.executable, "-m", "cli.daemon"]
    return Role(command, f"http://127.0.0.1:{port}", home, env, home / "test.log").start("/v3/health")


def sites(folder: Path, **env: str) -> Role:
    port = free_port()
    env = {
        "OPTA_DATA": str(folder),
        "OPTA_SITES_PORT": str(port),
        "DJANGO_SETTINGS_MODULE": "opta.settings.sites",
        **env,
    }
    manage = [sys.executable, "manage.py", "migrate", "--verbosity=0"]
    subprocess.run(manage, cwd=ROOT, env={**os.environ, **env}, check=True)
    command = [sys.executable, "-m", "daphne", "-b", "127.0.0.1", "-p", str(port), "opta.asgi:application"]
    role = Role(command, f"http://127.0.0.1:{port}", folder, env, folder / "sites.log")
    return role.start("/api/health", Host=f"opta.localhost:{port}")


def send_endless_head(role: Role, path: str) -> None:
    """200 MB of a request's head. Raises ConnectionError once the role has had enough of it."""
    host, port = role.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as stranger:
        stranger.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nX: ".encode())
        for _ in range(200):
            stranger.sendall(b"x" * 1_000_000)
