"""`opta daemon`: one process, started and stopped by name, and never another one killed."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psutil

from tests.processes import wait_until


def pid_in(text: str) -> int:
    return int(text.partition("(pid ")[2].partition(")")[0].partition(",")[0])


def test_two_starts_at_once_give_one_daemon(bare):
    started = [bare.start("daemon", "start") for _ in range(2)]
    said = [process.communicate()[0].decode() for process in started]
    assert [process.returncode for process in started] == [0, 0]
    assert pid_in(said[0]) == pid_in(said[1]) == bare.json("daemon", "status")["pid"]


def test_it_starts_once_and_stops_once(bare):
    first, again = bare("daemon", "start"), bare("daemon", "start")
    assert "started" in first.stdout
    assert "runs already" in again.stdout
    stopped = bare("daemon", "stop")
    assert pid_in(stopped.stdout) == pid_in(first.stdout)
    assert not (bare.daemon_files / "state.json").exists()
    assert "No daemon" in bare("daemon", "stop").stdout


def test_a_stop_returns_once_the_process_is_gone_and_a_restart_once_another_answers(bare):
    first = pid_in(bare("daemon", "start").stdout)
    second = pid_in(bare("daemon", "restart").stdout)
    assert second != first
    assert not alive(first)
    bare("daemon", "stop")
    assert not alive(second)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE  # its parent may be slow to notice
    except psutil.NoSuchProcess:
        return False


def test_a_log_that_is_large_makes_room_for_another(bare):
    bare.daemon_files.mkdir(parents=True, mode=0o700)
    log, before = bare.daemon_files / "daemon.log", bare.daemon_files / "daemon.log.1"
    log.write_bytes(b"an old line\n" * 500_000)
    bare("daemon", "start")
    assert before.stat().st_size == 6_000_000
    assert log.stat().st_size < 10_000
    assert [stat.S_IMODE(file.stat().st_mode) for file in (log, before)] == [0o600, 0o600]
    said = bare("daemon", "logs", "-n", "50").stdout.splitlines()
    assert (said[0], len(said)) == ("an old line", 50)
    assert any("listens on" in line for line in said)


def test_status_says_whether_it_runs(bare):
    down = bare("daemon", "status")
    assert (down.returncode, "opta daemon start" in down.stdout) == (5, True)
    bare("daemon", "start")
    up = bare("daemon", "status")
    assert (up.returncode, bare.env["OPTA_DAEMON_PORT"] in up.stdout) == (0, True)
    assert bare.json("daemon", "status")["service"] == "opta-daemon"


def test_its_files_are_the_owners_alone(bare):
    bare("daemon", "start")
    for name in ("daemon.log", "token", "state.json"):
        assert stat.S_IMODE((bare.daemon_files / name).stat().st_mode) == 0o600


def test_a_foreign_program_on_its_port_is_said_aloud(bare):
    port = int(bare.env["OPTA_DAEMON_PORT"])
    with socket.create_server(("127.0.0.1", port)):
        said = bare("daemon", "start").stdout
    assert f"Port {port} was held by another program" in said


def test_a_process_that_is_not_the_daemon_is_never_killed(bare):
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    bare("daemon", "start")
    state = bare.daemon_files / "state.json"
    real = json.loads(state.read_text())
    state.write_text(json.dumps({**real, "pid": stranger.pid}))
    refused = bare("daemon", "stop")
    state.write_text(json.dumps(real))
    assert stranger.poll() is None
    stranger.communicate(b"\n")
    assert refused.returncode == 5
    assert f"`kill -9 {real['pid']}` ends it" in refused.stderr  # the one that holds the lock


def test_a_stale_state_file_does_not_hide_that_it_is_gone(bare):
    bare("daemon", "start")
    os.kill(bare.json("daemon", "status")["pid"], signal.SIGKILL)
    assert bare("daemon", "status").returncode == 5
    assert "started" in bare("daemon", "start").stdout


def test_a_start_that_fails_shows_the_end_of_the_log(bare):
    done = bare("sessions", OPTA_DAEMON_PORT="99999")
    assert done.returncode == 5
    assert "daemon.log" in done.stderr
    assert "OPTA_DAEMON_PORT" in done.stderr


def test_a_folder_called_cli_where_the_user_stands_is_not_run(bare):
    package = bare.folder / "cli"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('a stranger was imported')")
    done = bare("daemon", "start")
    assert (done.returncode, done.stderr) == (0, "")


def test_run_is_the_daemon_in_the_foreground(bare):
    process = bare.start("daemon", "run")
    wait_until(lambda: bare("daemon", "status").returncode == 0, "the daemon in the foreground")
    assert bare.json("daemon", "status")["pid"] == process.pid
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert bare("daemon", "status").returncode == 5


def test_logs_are_printed_and_followed(bare):
    assert "no log yet" in bare("daemon", "logs").stderr
    bare("daemon", "start")
    assert "listens on" in bare("daemon", "logs").stdout
    following = bare.start("daemon", "logs", "-f", "-n", "1")
    assert following.stdout.readline()
    with (bare.daemon_files / "daemon.log").open("a") as log:
        log.write("a new line\n")
    assert any(b"a new line" in line for line in following.stdout)
    (bare.daemon_files / "daemon.log").rename(bare.daemon_files / "daemon.log.1")
    (bare.daemon_files / "daemon.log").write_text("the first of another\n")
    assert any(b"the first of another" in line for line in following.stdout)
    following.send_signal(signal.SIGINT)
    following.communicate()
    assert following.returncode == 130


def test_a_stranger_on_the_port_of_a_killed_daemon_is_not_believed(bare):
    bare("daemon", "start")
    dead = bare.json("daemon", "status")
    os.kill(dead["pid"], signal.SIGKILL)
    port = int(bare.env["OPTA_DAEMON_PORT"])
    wait_until(lambda: bare("daemon", "status").returncode == 5, "the daemon to be gone")
    with forger(port, json.dumps(dead).encode()):
        assert bare("daemon", "status").returncode == 5
        started = bare("daemon", "start")
    assert started.returncode == 0
    assert "started" in started.stdout
    assert f":{port} " not in started.stdout


@contextmanager
def forger(port: int, health: bytes) -> Iterator[None]:
    """A program of somebody else's that answers every request as the daemon did."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(health)

        def log_message(self, *_: object) -> None:
            """Quietly."""

    with ThreadingHTTPServer(("127.0.0.1", port), Answer) as server:
        threading.Thread(target=server.serve_forever).start()
        yield
        server.shutdown()
