"""What starts the daemon at login, and again when it fails: systemd, launchd, Windows' Task Scheduler."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.output import Failure, warn
from cli.protocol import state
from opta import paths

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

BY_HAND = "Have `opta daemon run` started by what starts your programs; any `opta` starts the daemon anyway."
# The exit status of a daemon that makes room for its successor: EX_TEMPFAIL of sysexits.h.
REPLACED = 75
# That of one whose configuration is wrong: starting it again changes nothing.
MISUSE = 2
STOP_SECONDS = 20
WINDOWS = "http://schemas.microsoft.com/windows/2004/02/mit/task"

Command = Sequence[str]


@dataclass(frozen=True)
class Program:
    """What is started. No secret is in it, nor what config.toml says; `search` is the PATH of its tools."""

    command: tuple[str, ...]
    home: Path
    search: str


@dataclass(frozen=True)
class Supervisor:
    """`file` is where its `text` about a program stands, and the commands are what is run about that file."""

    name: str
    title: str
    file: Callable[[], Path]
    text: Callable[[Program], bytes]
    # Answers with success where there is one to be asked.
    probe: Command
    install: Callable[[Path], list[Command]]
    uninstall: Callable[[Path], list[Command]]
    start: Callable[[Path], Command]
    hint: str = ""


def label() -> str:
    """Its name among all that is supervised; a home that is not the default one has a name of its own."""
    home = paths.opta_home().resolve()
    if home == (Path.home() / ".opta").resolve():
        return "opta-daemon"
    return f"opta-daemon-{hashlib.sha256(os.fsencode(home)).hexdigest()[:8]}"


def program(supervisor: str) -> Program:
    """This very installation of `opta`, for the home that holds now."""
    home = paths.opta_home().absolute()
    command = (sys.executable, "-P", "-m", "cli.daemon", "--home", str(home), "--supervisor", supervisor)
    return Program(command, home, os.environ.get("PATH", os.defpath))


def unit_file() -> Path:
    config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(config) / "systemd" / "user" / f"{label()}.service"


def unit(program: Program) -> bytes:
    """systemd.service(5), systemd.exec(5), systemd.kill(5). The daemon ends its jobs by itself, and leaves
    them to a successor: nothing else may end them. What the agent's own commands may need stays allowed:
    namespaces are what they are confined by, and a compiler at run time wants memory it may execute."""
    words = " ".join(quoted(word).replace("$", "$$") for word in program.command)
    return f"""[Unit]
Description=Opta Local daemon

[Service]
Type=exec
ExecStart={words}
Environment={quoted(f"PATH={program.search}")}
WorkingDirectory=/
UMask=0077
Restart=on-failure
RestartSec=1
RestartForceExitStatus={REPLACED}
RestartPreventExitStatus={MISUSE}
SuccessExitStatus={REPLACED}
KillMode=process
TimeoutStopSec={STOP_SECONDS}
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native

[Install]
WantedBy=default.target
""".encode()


def quoted(word: str) -> str:
    """A word of a unit file; source: systemd.syntax(7), "Quoting", and systemd.unit(5), "Specifiers"."""
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("%", "%%")):
        word = word.replace(plain, escaped)
    return f'"{word}"'


def agent_file() -> Path:
    return Path.home() / "Library" / "LaunchAgents" / f"local.{label()}.plist"


def agent(program: Program) -> bytes:
    """launchd.plist(5). What is said before the daemon opens its log goes there as well."""
    import plistlib  # with the XML parser, which no other command needs

    log = str(program.home / "daemon" / "daemon.log")
    return plistlib.dumps(
        {
            "Label": agent_file().stem,
            "ProgramArguments": list(program.command),
            "EnvironmentVariables": {"PATH": program.search},
            "WorkingDirectory": "/",
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "AbandonProcessGroup": True,
            "ExitTimeOut": STOP_SECONDS,
            "Umask": 0o077,
            "StandardOutPath": log,
            "StandardErrorPath": log,
        }
    )


def domain() -> str:
    return f"gui/{os.getuid()}"


def task_file() -> Path:
    return state.folder() / f"{label()}.xml"


def task(program: Program) -> bytes:
    """Source: Task Scheduler Schema, https://learn.microsoft.com/windows/win32/taskschd/task-scheduler-schema"""
    from xml.etree import ElementTree

    windowless = Path(program.command[0]).with_name("pythonw.exe")
    python = windowless if windowless.exists() else program.command[0]
    found = {
        "Triggers": {"LogonTrigger": {"Enabled": "true", "UserId": user()}},
        "Principals": {
            "Principal": {"UserId": user(), "LogonType": "InteractiveToken", "RunLevel": "LeastPrivilege"}
        },
        "Settings": {
            "MultipleInstancesPolicy": "IgnoreNew",
            "DisallowStartIfOnBatteries": "false",
            "StopIfGoingOnBatteries": "false",
            "RestartOnFailure": {"Interval": "PT1M", "Count": "10"},
            "ExecutionTimeLimit": "PT0S",
            "Hidden": "true",
        },
        "Actions": {
            "Exec": {"Command": str(python), "Arguments": subprocess.list2cmdline(program.command[1:])}
        },
    }
    root = ElementTree.Element("Task", {"version": "1.2", "xmlns": WINDOWS})
    grow(root, found)
    text: bytes = ElementTree.tostring(root, encoding="UTF-16", xml_declaration=True)
    return text


def user() -> str:
    return "\\".join(os.environ[key] for key in ("USERDOMAIN", "USERNAME") if key in os.environ)


def grow(parent: "Element", found: Mapping[str, Any]) -> None:
    """Hang elements below `parent`: a mapping is an element with children, a text one with text."""
    from xml.etree import ElementTree

    for name, value in found.items():
        child = ElementTree.SubElement(parent, name)
        if isinstance(value, str):
            child.text = value
        else:
            grow(child, value)


SUPERVISORS = {
    "linux": Supervisor(
        "systemd",
        "systemd user unit",
        unit_file,
        unit,
        probe=("systemctl", "--user", "show-environment"),
        install=lambda file: [
            ("systemctl", "--user", "daemon-reload"),
            ("systemctl", "--user", "enable", file.name),
        ],
        uninstall=lambda file: [("systemctl", "--user", "disable", "--now", file.name)],
        start=lambda file: ("systemctl", "--user", "start", file.name),
        hint="It runs while you are logged in; to have it from boot on: loginctl enable-linger",
    ),
    "darwin": Supervisor(
        "launchd",
        "launchd agent",
        agent_file,
        agent,
        probe=("launchctl", "version"),
        install=lambda file: [
            ("launchctl", "enable", f"{domain()}/{file.stem}"),
            ("launchctl", "bootstrap", domain(), str(file)),
        ],
        uninstall=lambda file: [("launchctl", "bootout", f"{domain()}/{file.stem}")],
        start=lambda file: ("launchctl", "kickstart", f"{domain()}/{file.stem}"),
    ),
    "win32": Supervisor(
        "task-scheduler",
        "Windows task",
        task_file,
        task,
        probe=("schtasks", "/Query", "/FO", "LIST", "/TN", "\\"),
        install=lambda file: [("schtasks", "/Create", "/F", "/TN", file.stem, "/XML", str(file))],
        uninstall=lambda file: [
            ("schtasks", "/End", "/TN", file.stem),
            ("schtasks", "/Delete", "/F", "/TN", file.stem),
        ],
        start=lambda file: ("schtasks", "/Run", "/TN", file.stem),
    ),
}


def here() -> Supervisor:
    """That of this machine. Raises Failure where there is none that we know."""
    found = SUPERVISORS.get(sys.platform)
    if found is None:
        raise Failure(f"On {sys.platform} opta knows nothing that starts a program at login.", hint=BY_HAND)
    return found


def installed() -> Supervisor | None:
    """What the daemon of this home is installed in."""
    found = SUPERVISORS.get(sys.platform)
    return found if found and found.file().exists() else None


def start() -> bool:
    """Have the daemon started by what it is installed in; False when it is in none, or that one cannot."""
    supervisor = installed()
    if supervisor is None:
        return False
    done = run(supervisor.start(supervisor.file()))
    if done.returncode:
        warn(f"{supervisor.name} did not start the daemon: {words(done)} It is started without it.")
    return not done.returncode


def run(command: Command) -> "subprocess.CompletedProcess[str]":
    """Its exit status and what it said; 127 when there is no such program."""
    try:
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
        )
    except FileNotFoundError:
        return subprocess.CompletedProcess(command, 127, "", f"{command[0]}: there is no such program.")


def words(done: "subprocess.CompletedProcess[str]") -> str:
    said = " ".join((done.stderr or done.stdout).split()) or f"exit status {done.returncode}"
    return f"{said.rstrip('.')}."
