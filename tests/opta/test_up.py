"""`make up` on ports of the test's own: everything comes up, everything goes."""

import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.processes import ROOT, free_port, wait_until

UP = [sys.executable, "-m", "opta.up"]


@pytest.fixture
def own(tmp_path: Path, models: Path) -> dict[str, str]:
    """An environment in which nothing is shared with the stack that may run here."""
    ports = {name: str(free_port()) for name in ("OPTA_SITES_PORT", "LMX_PORT", "OPTA_DAEMON_PORT")}
    folders = {name: str(tmp_path / name.lower()) for name in ("OPTA_HOME", "LMX_HOME", "OPTA_DATA")}
    return {**os.environ, **ports, **folders, "LMX_MODELS": str(models), "COLUMNS": "120"}


@pytest.fixture
def standing(own: dict[str, str], tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A `make up` whose table is printed, and what it printed."""
    log = tmp_path / "up.log"
    with log.open("wb") as out:
        up = subprocess.Popen(UP, env=own, cwd=ROOT, stdout=out, stderr=out, start_new_session=True)
    try:
        wait_until(lambda: up.poll() is not None or "Try next" in log.read_text(), "the table", 90)
        assert up.poll() is None, log.read_text()
        yield up, log
    finally:
        if up.poll() is None:
            up.terminate()
            up.wait(15)


def test_every_role_comes_up_and_ctrl_c_ends_them_all_within_five_seconds(own, standing):
    up, log = standing
    table = log.read_text()
    assert "Opta Local is up" in table, table
    for role in ("sites", "worker", "lmx", "daemon"):
        assert re.search(rf"│ {role} +│ up +│ http://", table), table
    body = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
    lmx = f"http://127.0.0.1:{own['LMX_PORT']}"
    assert httpx.post(f"{lmx}/v1/chat/completions", json=body, timeout=60).status_code == 200

    started = psutil.Process(up.pid).children(recursive=True)
    assert any("inference.runner" in process.cmdline() for process in started)
    began = time.monotonic()
    up.send_signal(signal.SIGINT)
    assert up.wait(15) == 0
    assert time.monotonic() - began < 5
    assert [process for process in started if process.is_running()] == []
    for name in ("OPTA_SITES_PORT", "LMX_PORT", "OPTA_DAEMON_PORT"):
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", int(own[name]))) != 0, name


def test_it_can_be_stopped_from_another_terminal(own, standing):
    up, _ = standing
    down = subprocess.run([*UP, "--stop"], env=own, cwd=ROOT, capture_output=True, text=True, check=True)
    assert down.stdout == "Stopped.\n"
    assert up.wait(5) == 0
    again = subprocess.run([*UP, "--stop"], env=own, cwd=ROOT, capture_output=True, text=True, check=True)
    assert again.stdout == "make up does not run.\n"


def test_a_closed_terminal_ends_them_all(own):
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execve(UP[0], UP, own)  # noqa: S606 -- the program itself, no shell
    shown = b""
    while b"Try next" not in shown:
        shown += os.read(terminal, 4096)
    started = psutil.Process(pid).children(recursive=True)
    os.close(terminal)
    os.waitpid(pid, 0)
    assert [process for process in started if process.is_running()] == []


def test_a_daemon_that_runs_already_is_used_and_left_alone(own, start_daemon, tmp_path: Path):
    lmx = f"http://127.0.0.1:{own['LMX_PORT']}"
    daemon = start_daemon(lmx_url=lmx, home=Path(own["OPTA_HOME"]))
    own["OPTA_DAEMON_PORT"] = daemon.url.rpartition(":")[2]
    log = tmp_path / "again.log"
    with log.open("wb") as out:
        up = subprocess.Popen(UP, env=own, cwd=ROOT, stdout=out, stderr=out)
    wait_until(lambda: up.poll() is not None or "Try next" in log.read_text(), "the table", 90)
    assert "up, as before" in log.read_text()
    up.send_signal(signal.SIGINT)
    assert up.wait(15) == 0
    assert not daemon.ended


def test_a_taken_port_is_named_with_its_holder_before_anything_starts(own, tmp_path: Path):
    with socket.create_server(("127.0.0.1", int(own["LMX_PORT"]))):
        refused = subprocess.run(UP, env=own, cwd=ROOT, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert f"Port {own['LMX_PORT']}, which lmx needs, is held by" in refused.stdout
    assert f"pid {os.getpid()}" in refused.stdout
    assert not (tmp_path / "opta_data" / "sites.sqlite3").exists()
