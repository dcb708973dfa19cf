"""`make up`: check the ports, prepare the data, run the Procfile, and say when every role answers."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
from honcho.environ import parse_procfile
from honcho.manager import Manager
from honcho.printer import Printer
from rich.console import Console
from rich.table import Table

from opta import env, paths

READY_DEADLINE = 90.0
STOP_DEADLINE = 15.0
console = Console(highlight=False)


@dataclass(frozen=True)
class Role:
    """One line of the Procfile: where it listens, how it shows that it works, where a person goes."""

    name: str
    port: int
    health: str
    page: str
    host: str = "127.0.0.1"

    def answers(self) -> bool:
        url = f"http://127.0.0.1:{self.port}{self.health}"
        try:
            return httpx.get(url, headers={"Host": f"{self.host}:{self.port}"}, timeout=5).status_code == 200
        except httpx.TransportError:
            return False


def roles() -> list[Role]:
    domain = env.text("OPTA_DOMAIN", "opta.localhost")
    sites = env.port("OPTA_SITES_PORT", 8000)
    lmx = env.port("LMX_PORT", 1234)
    daemon = env.port("OPTA_DAEMON_PORT", 9999)
    status = f"status.{domain}"
    return [
        Role("sites", sites, "/api/health", f"http://{domain}:{sites}", domain),
        # The worker has no door of its own: it works when its first poll is on the status page.
        Role("worker", sites, "/api/polled", f"http://{status}:{sites}", status),
        Role("lmx", lmx, "/readyz", f"http://127.0.0.1:{lmx}/docs"),
        Role("daemon", daemon, "/v3/health", f"http://127.0.0.1:{daemon}/v3/health"),
    ]


def taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def holder(port: int) -> str:
    """Who listens on a taken port, as "name (pid 7: its command)"."""
    for process in psutil.process_iter(["name", "cmdline"]):
        with suppress(psutil.Error):  # it ended meanwhile, or is somebody else's
            listening = [c for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
            if any(c.laddr.port == port for c in listening):
                command = " ".join(process.info["cmdline"] or [])[:80]
                return f"{process.info['name']} (pid {process.pid}: {command})"
    return "a process of another user"


def goes_on(role: Role) -> bool:
    """Whether it is a daemon that a command started before: that one is used, and left as it is."""
    return role.name == "daemon" and taken(role.port) and role.answers()


def refuse_taken_ports(found: list[Role]) -> None:
    busy = {role.port: role.name for role in found if role.name != "worker" and taken(role.port)}
    if not busy:
        return
    for port, name in busy.items():
        console.print(f"[red]Port {port}[/], which {name} needs, is held by {holder(port)}.")
    console.print(
        "End that program, or choose other ports: OPTA_SITES_PORT, LMX_PORT and OPTA_DAEMON_PORT.\n"
        "If it is Opta Local itself: make down, or .venv/bin/opta daemon stop."
    )
    sys.exit(1)


def prepare() -> None:
    """The sites' tables, and a model for a machine that has none."""
    manage("migrate", "--verbosity", "0")
    model = paths.lmx_models() / "opta-tiny"
    if not model.exists():
        manage("make_tiny_model", str(model))


def manage(*command: str) -> None:
    """Run a command of manage.py; when it fails it has said why, and that is the end."""
    if status := subprocess.run([sys.executable, "manage.py", *command], cwd=paths.CHECKOUT).returncode:
        sys.exit(status)


def environment(found: list[Role]) -> dict[str, str]:
    """The roles' environment: our programs first, and each other's addresses."""
    port = {role.name: role.port for role in found}
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONUNBUFFERED": "1",
        "OPTA_SITES_PORT": str(port["sites"]),
        "OPTA_LMX_URL": os.environ.get("OPTA_LMX_URL", f"http://127.0.0.1:{port['lmx']}"),
        "OPTA_DAEMON_URL": os.environ.get("OPTA_DAEMON_URL", f"http://127.0.0.1:{port['daemon']}"),
    }


def announce(found: list[Role], kept: set[str]) -> None:
    """Wait for every role to answer, then print the table; a late one is named, not waited for longer."""
    end = time.monotonic() + READY_DEADLINE
    waiting = list(found)
    while waiting and time.monotonic() < end:
        waiting = [role for role in waiting if not role.answers()]
        time.sleep(0.2)
    table = Table(
        "role", "state", "address", title="Opta Local is up" if not waiting else "Not everything is up"
    )
    for role in found:
        state = "[red]not answering[/], see its lines above" if role in waiting else "[green]up[/]"
        state += ", as before" if role.name in kept else ""
        table.add_row(role.name, state, role.page)
    console.print(table, "Try next:  [bold].venv/bin/opta chat[/]      Stop: Ctrl-C", sep="\n")


class Screen:
    """Standard output, for as long as there is one: a terminal that was closed must not stop the stopping."""

    def isatty(self) -> bool:
        return sys.stdout.isatty()

    def write(self, text: str) -> None:
        with suppress(OSError):
            sys.stdout.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            sys.stdout.flush()


def run(found: list[Role], kept: set[str]) -> int:
    """The Procfile under honcho until Ctrl-C, SIGTERM or a closed terminal; the exit status."""
    manager = Manager(Printer(Screen()))
    for name, command in parse_procfile((paths.CHECKOUT / "Procfile").read_text()).processes.items():
        if name in kept:
            continue
        manager.add_process(name, command, env=environment(found), cwd=str(paths.CHECKOUT))
    signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    threading.Thread(target=announce, args=(found, kept), daemon=True).start()
    manager.loop()
    stopped = manager.returncode in (128 + signal.SIGINT, 128 + signal.SIGTERM)
    return 0 if stopped else int(manager.returncode or 0)


def pid_file() -> Path:
    """There for as long as `make up` runs; it is deleted when the last role has ended."""
    return paths.private(paths.data()) / "up.pid"


def main() -> None:
    found = roles()
    kept = {role.name for role in found if goes_on(role)}
    refuse_taken_ports([role for role in found if role.name not in kept])
    prepare()
    pid_file().write_text(str(os.getpid()))
    try:
        status = run(found, kept)
    finally:
        pid_file().unlink(missing_ok=True)
    sys.exit(status)


def running() -> psutil.Process | None:
    """The `make up` of this checkout, wherever it was started."""
    try:
        process = psutil.Process(int(pid_file().read_text()))
        return process if "opta.up" in process.cmdline() else None
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return None


def stop() -> None:
    """`make down`."""
    process = running()
    if process is None:
        print("make up does not run.")
        return
    process.terminate()
    end = time.monotonic() + STOP_DEADLINE
    while pid_file().exists():
        if time.monotonic() > end:
            sys.exit(
                f"make up (pid {process.pid}) still runs {STOP_DEADLINE:.0f} s after it was told to end."
            )
        time.sleep(0.1)
    print("Stopped.")


if __name__ == "__main__":
    try:
        stop() if "--stop" in sys.argv else main()
    except env.EnvError as error:
        sys.exit(str(error))
