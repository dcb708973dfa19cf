"""`opta daemon`: one process, started and stopped by name, and never another one killed."""

import json
import os
import signal
import stat
import subprocess
import sys

from tests.processes import wait_until


def pid_in(text: str) -> int:
    return int(text.partition("(pid ")[2].partition(")")[0].partition(",")[0])


def test_two_starts_at_once_give_one_daemon(stranded):
    started = [stranded.start("daemon", "start") for _ in range(2)]
    said = [process.communicate()[0].decode() for process in started]
    assert [process.returncode for process in started] == [0, 0]
    assert pid_in(said[0]) == pid_in(said[1]) == stranded.json("daemon", "status")["pid"]


def test_it_starts_once_and_stops_once(stranded):
    first, again = stranded("daemon", "start"), stranded("daemon", "start")
    assert "started" in first.stdout
    assert "runs already" in again.stdout
    stopped = stranded("daemon", "stop")
    assert pid_in(stopped.stdout) == pid_in(first.stdout)
    assert not (stranded.daemon_files / "state.json").exists()
    assert "No daemon" in stranded("daemon", "stop").stdout


def test_status_says_whether_it_runs(stranded):
    down = stranded("daemon", "status")
    assert (down.returncode, "opta daemon start" in down.stdout) == (5, True)
    stranded("daemon", "start")
    up = stranded("daemon", "status")
    assert (up.returncode, stranded.env["OPTA_DAEMON_PORT"] in up.stdout) == (0, True)
    assert stranded.json("daemon", "status")["service"] == "opta-daemon"


def test_its_files_are_the_owners_alone(stranded):
    stranded("daemon", "start")
    for name in ("daemon.log", "token", "state.json"):
        assert stat.S_IMODE((stranded.daemon_files / name).stat().st_mode) == 0o600


def test_a_process_that_is_not_the_daemon_is_never_killed(stranded):
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    stranded("daemon", "start")
    state = stranded.daemon_files / "state.json"
    real = json.loads(state.read_text())
    state.write_text(json.dumps({**real, "pid": stranger.pid}))
    assert "No daemon" in stranded("daemon", "stop").stdout
    assert stranger.poll() is None
    state.write_text(json.dumps(real))
    stranger.communicate(b"\n")


def test_a_stale_state_file_does_not_hide_that_it_is_gone(stranded):
    stranded("daemon", "start")
    os.kill(stranded.json("daemon", "status")["pid"], signal.SIGKILL)
    assert stranded("daemon", "status").returncode == 5
    assert "started" in stranded("daemon", "start").stdout


def test_a_start_that_fails_shows_the_end_of_the_log(stranded):
    done = stranded("sessions", OPTA_DAEMON_PORT="99999")
    assert done.returncode == 5
    assert "daemon.log" in done.stderr
    assert "OPTA_DAEMON_PORT" in done.stderr


def test_a_folder_called_cli_where_the_user_stands_is_not_run(stranded):
    package = stranded.folder / "cli"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('a stranger was imported')")
    command = [sys.executable, "-P", "-m", "cli.main", "daemon", "start"]
    done = subprocess.run(command, env=stranded.env, cwd=stranded.folder, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_run_is_the_daemon_in_the_foreground(stranded):
    process = stranded.start("daemon", "run")
    wait_until(lambda: stranded("daemon", "status").returncode == 0, "the daemon in the foreground")
    assert stranded.json("daemon", "status")["pid"] == process.pid
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert stranded("daemon", "status").returncode == 5


def test_logs_are_printed_and_followed(stranded):
    assert "no log yet" in stranded("daemon", "logs").stderr
    stranded("daemon", "start")
    assert "listens on" in stranded("daemon", "logs").stdout
    following = stranded.start("daemon", "logs", "-f", "-n", "1")
    assert following.stdout.readline()
    with (stranded.daemon_files / "daemon.log").open("a") as log:
        log.write("a new line\n")
    assert any(b"a new line" in line for line in following.stdout)
    following.send_signal(signal.SIGINT)
    following.communicate()
    assert following.returncode == 130
