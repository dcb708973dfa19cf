"""What systemd, launchd and Windows are given, read back as they read it."""

import plistlib
import shlex
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cli.clients import supervisors
from cli.clients.supervisors import SUPERVISORS, WINDOWS, Program
from tests.systemctl import Unit

ODD = Program(
    ("/opt/my python/bin/python", "-P", "-m", "cli.daemon", "--home", '/home/ä/100% $HOME "x"\\'),
    Path('/home/ä/100% $HOME "x"\\'),
    "/usr/bin:/opt/50% more/bin",
)


def words(line: str) -> list[str]:
    """The words of ExecStart= as systemd.syntax(7) reads them: quotes, then %% and $$."""
    return [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(line)]


def test_systemd_is_told_what_to_run_and_when_to_start_it_again():
    unit = Unit(SUPERVISORS["linux"].text(ODD).decode())
    service = unit["Service"]
    assert words(service["ExecStart"]) == list(ODD.command)
    assert words(service["Environment"]) == [f"PATH={ODD.search}"]
    assert (service["Type"], service["Restart"], service["UMask"]) == ("exec", "on-failure", "0077")
    assert (service["RestartForceExitStatus"], service["RestartPreventExitStatus"]) == ("75", "2")
    assert service["KillMode"] == "process"  # a successor takes up the jobs
    assert service["NoNewPrivileges"] == "yes"
    assert unit["Install"]["WantedBy"] == "default.target"


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"])), min_size=1))
@example(["\\n"])
def test_systemd_reads_the_words_that_were_written(command: list[str]):
    unit = Unit(SUPERVISORS["linux"].text(Program(tuple(command), Path("/"), "/bin")).decode())
    assert words(unit["Service"]["ExecStart"]) == command


def test_launchd_is_told_the_same():
    agent = plistlib.loads(SUPERVISORS["darwin"].text(ODD))
    assert agent["ProgramArguments"] == list(ODD.command)
    assert agent["EnvironmentVariables"] == {"PATH": ODD.search}
    assert (agent["RunAtLoad"], agent["KeepAlive"]) == (True, {"SuccessfulExit": False})
    assert agent["AbandonProcessGroup"] is True
    assert agent["Umask"] == 0o077
    assert agent["Label"] == SUPERVISORS["darwin"].file().stem


def test_windows_is_told_the_same(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("USERDOMAIN", "HERE")
    monkeypatch.setenv("USERNAME", "me")
    text = SUPERVISORS["win32"].text(ODD)
    assert text.startswith((b"\xff\xfe", b"\xfe\xff"))  # schtasks reads UTF-16
    task = ElementTree.fromstring(text)  # noqa: S314 -- our own

    def found(path: str) -> str | None:
        return task.findtext("/".join(f"{{{WINDOWS}}}{name}" for name in path.split("/")))

    assert found("Actions/Exec/Command") == ODD.command[0]
    assert found("Actions/Exec/Arguments") == subprocess.list2cmdline(ODD.command[1:])
    assert found("Triggers/LogonTrigger/UserId") == found("Principals/Principal/UserId") == "HERE\\me"
    assert found("Principals/Principal/RunLevel") == "LeastPrivilege"
    assert found("Settings/ExecutionTimeLimit") == "PT0S"
    assert found("Settings/RestartOnFailure/Interval") == "PT1M"


@pytest.mark.parametrize("name", SUPERVISORS)
def test_no_secret_is_in_what_they_are_given(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPTA_HOME", str(tmp_path))
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-hidden")
    (tmp_path / "daemon").mkdir()
    (tmp_path / "daemon" / "token").write_text("tok-hidden")
    text = SUPERVISORS[name].text(supervisors.program(SUPERVISORS[name].name))
    assert b"hidden" not in text.replace(b"\0", b"")
    assert str(tmp_path).encode() in text.replace(b"\0", b"")


def test_another_home_has_a_name_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("OPTA_HOME", raising=False)
    usual = supervisors.label()
    monkeypatch.setenv("OPTA_HOME", str(tmp_path))
    assert (usual, supervisors.label() != usual) == ("opta-daemon", True)
