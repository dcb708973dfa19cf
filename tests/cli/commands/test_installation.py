"""`opta daemon install` with systemd: the unit is run, outlives a replacement, and is taken back."""

import shlex
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.commands.conftest import Shell
from tests.cli.commands.test_daemon import alive, pid_in
from tests.processes import ROOT, free_port


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Shell]:
    """A home that says all by its files: a service has no environment of ours."""
    shell = Shell.make(tmp_path, "http://127.0.0.1:1")
    for name in ("OPTA_LMX_URL", "OPTA_DAEMON_PORT"):
        del shell.env[name]
    (tmp_path / "opta").mkdir(mode=0o700)
    (tmp_path / "opta" / "config.toml").write_text(f"daemon_port = {free_port()}\n")
    shell.env["XDG_CONFIG_HOME"] = str(tmp_path / "config")
    yield shell
    shell.close()


@pytest.fixture
def supervised(bare: Shell, tmp_path: Path) -> Shell:
    """With a `systemctl` that does what the unit says."""
    tool = tmp_path / "bin" / "systemctl"
    tool.parent.mkdir()
    words = [sys.executable, str(ROOT / "tests" / "systemctl.py"), str(tmp_path / "calls")]
    tool.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    tool.chmod(0o700)
    bare.env["PATH"] = f"{tool.parent}:{bare.env['PATH']}"
    return bare


def units(shell: Shell) -> list[Path]:
    return list((shell.home / "config").rglob("*.service"))


def test_it_runs_by_its_unit_is_replaced_by_it_and_taken_out(supervised: Shell):
    unmanaged = pid_in(supervised("daemon", "start").stdout)
    assert "not installed" in supervised("daemon", "status").stdout
    done = supervised("daemon", "install")
    assert (done.returncode, done.stderr) == (0, "")
    (unit,) = units(supervised)
    assert stat.S_IMODE(unit.stat().st_mode) == 0o600
    verbs = ("daemon-reload", f"enable {unit.name}", f"start {unit.name}")
    steps = [f"$ systemctl --user {verb}" for verb in verbs]
    said = done.stdout.splitlines()
    assert said[0] == f"Wrote {unit}"
    assert [line for line in said if line.startswith("$")] == steps
    first = pid_in(next(line for line in said if "is installed" in line))
    assert (first != unmanaged, alive(unmanaged)) == (True, False)
    assert supervised.json("daemon", "status")["supervisor"] == "systemd"
    assert f"systemd user unit: {unit}\n" in supervised("daemon", "status").stdout

    second = pid_in(supervised("daemon", "restart").stdout)
    assert second != first
    assert supervised.json("daemon", "status")["supervisor"] == "systemd"
    supervised("daemon", "stop")
    third = pid_in(supervised("daemon", "start").stdout)
    assert supervised.json("daemon", "status")["supervisor"] == "systemd"

    done = supervised("daemon", "uninstall")
    assert f"$ systemctl --user disable --now {unit.name}" in done.stdout
    assert (alive(third), units(supervised)) == (False, [])
    assert "not installed" in supervised("daemon", "uninstall").stdout


def test_a_machine_without_systemd_is_told_what_to_do_and_nothing_is_written(bare: Shell, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    bare.env["PATH"] = str(tmp_path / "empty")
    refused = bare("daemon", "install")
    assert refused.returncode == 1
    assert "opta daemon run" in refused.stderr
    assert units(bare) == []
    printed = bare("daemon", "install", "--print")
    assert "ExecStart=" in printed.stdout
    assert units(bare) == []


def test_a_systemd_that_does_nothing_keeps_nobody_from_starting_or_leaving(supervised: Shell):
    supervised("daemon", "install")
    supervised("daemon", "stop")
    (supervised.home / "bin" / "systemctl").write_text("#!/bin/sh\necho the bus is gone >&2\nexit 1\n")
    started = supervised("daemon", "start")
    assert (started.returncode, "the bus is gone" in started.stderr) == (0, True)
    assert supervised.json("daemon", "status")["supervisor"] is None
    assert "this one was started without it" in supervised("daemon", "status").stdout
    gone = supervised("daemon", "uninstall")
    assert (gone.returncode, "the bus is gone" in gone.stdout) == (0, True)
    assert units(supervised) == []
