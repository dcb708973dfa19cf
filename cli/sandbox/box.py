"""The sandbox of a command: what it may write, read and reach, and how it is entered on this system."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

from cli.sandbox import calls, enter, landlock, seatbelt
from opta import paths

# What holds keys and passwords, in the user's home; OPTA_HOME besides.
SECRETS = (
    ".ssh", ".gnupg", ".aws", ".azure", ".kube", ".config/gcloud", ".config/gh", ".config/op",
    ".docker/config.json", ".netrc", ".git-credentials", ".npmrc", ".pypirc", ".vault-token",
    ".password-store", ".local/share/keyrings", ".local/share/kwalletd", ".mozilla",
    ".config/google-chrome", ".config/chromium",
    "Library/Keychains", "Library/Application Support/Google/Chrome", "Library/Application Support/Firefox",
)  # fmt: skip
# What runs or is believed outside of the sandbox later, in the workspace.
PROTECTED = (".opta", ".git/hooks", ".git/config")
# A variable with such a part in its name, or a password in its value, is kept from commands.
SECRET_NAME = re.compile(
    r"(^|_)(API_?KEY|\w*KEY|KEYS|\w*TOKEN|TOKENS|\w*SECRET|SECRETS|\w*PASSWORD|PASSWD|PASSPHRASE|PAT|"
    r"CREDENTIALS?|AUTH|COOKIE|DSN)(_|$)",
    re.IGNORECASE,
)
SECRET_VALUE = re.compile(r"://[^/\s:@]*:[^/\s@]+@")
# How other programs would be asked to run something, what is the daemon's own, what changes a shell's start.
OTHERS = re.compile(
    r"DBUS_|SSH_A|GPG_AGENT|XAUTHORITY|OPTA_|LMX_|DJANGO_|NOTIFY_|WATCHDOG_|LISTEN_|PYTHON|VIRTUAL_ENV$|"
    r"BASH_ENV$|ENV$|BASH_FUNC_|SHELLOPTS$|BASHOPTS$|PS4$|PROMPT_COMMAND$|TMUX|LD_PRELOAD$|LD_AUDIT$"
)
NO_TERMINAL = {
    "TERM": "dumb", "NO_COLOR": "1", "PAGER": "cat", "GIT_PAGER": "cat", "GIT_TERMINAL_PROMPT": "0",
    "GIT_EDITOR": "true", "DEBIAN_FRONTEND": "noninteractive",
}  # fmt: skip
PROBE_SECONDS = 10


class Ability(NamedTuple):
    """What this system has: Landlock's version, namespaces of one's own, Seatbelt."""

    landlock: int = 0
    spaces: bool = False
    seatbelt: bool = False

    @property
    def any(self) -> bool:
        return bool(self.landlock or self.seatbelt)


@cache
def ability() -> Ability:
    """Tried once in a process: namespaces may be there and of no use, which only an attempt tells."""
    if sys.platform == "darwin":
        return Ability(seatbelt=os.access(seatbelt.PROGRAM, os.X_OK))
    if sys.platform != "linux" or not (version := landlock.abi()):
        return Ability()
    try:
        done = subprocess.run(
            [*LAUNCHER, "--landlock", "--spaces", "true"], capture_output=True, timeout=PROBE_SECONDS
        )
    except subprocess.TimeoutExpired:
        return Ability(version)
    return Ability(version, done.returncode == 0)


def guarantees(able: Ability | None = None) -> list[str]:
    """What holds on this system of every command, a sentence each; and what does not."""
    able = able or ability()
    if not able.any:
        return ["There is no sandbox on this system: a command may do all that you may."]
    said = [
        "Files are written in the working directory and a private temporary folder alone.",
        "Keys, keyrings and Opta's own files are not read.",
        "Other programs are neither signalled nor traced, nor asked through D-Bus, Docker or other sockets.",
        "Nothing is reached over any network, unless the call asks for it.",
    ]
    if able.seatbelt:
        return [*said, "Within a working directory .opta, .git/hooks and .git/config are not written."]
    if able.landlock < 3:
        said[0] += " This kernel lets a file elsewhere be emptied, though (Landlock before version 3)."
    if not calls.known():
        said[2] = "Other programs are not traced; their sockets can be reached."
    if not able.spaces and not calls.known():
        said[3] = "TCP is cut unless the call asks for it." if able.landlock >= 4 else "No network is cut."
    if not able.spaces and able.landlock < 6:
        said[2] += " They can be signalled (Landlock before version 6)."
    if able.spaces:
        return [
            *said,
            "Within a working directory .opta, .git/hooks and .git/config are not written.",
            "Nothing that a command starts outlives it, in whatever way it was started.",
        ]
    return [
        *said,
        "Not protected: .opta, .git/hooks and .git/config in a working directory, for users cannot make "
        "namespaces on this system.",
    ]


@dataclass(frozen=True)
class Box:
    """The sandbox of one command: its working directory, its private folder, and whether it may reach out."""

    folder: Path
    temporary: Path
    network: bool = False
    able: Ability | None = None
    # What its files are made with; that of whoever starts it, without one.
    umask: int | None = None

    @cached_property
    def hidden(self) -> list[str]:
        home = Path.home()
        found = [*(home / name for name in SECRETS), paths.opta_home()]
        return [os.path.realpath(path) for path in found]

    @property
    def root(self) -> str:
        return os.path.realpath(self.folder)

    @property
    def only_reads(self) -> str:
        """Why nothing in the folder may be written, as where the user's keys lie below it; or nothing."""
        if any(path == self.root or path.startswith(self.root.rstrip("/") + "/") for path in self.hidden):
            return f"{self.root} holds keys or Opta's own files, so commands write nothing in it."
        if links := [name for name in (".opta", ".git", *PROTECTED) if (self.folder / name).is_symlink()]:
            return f"{links[0]} is a link, which could be turned elsewhere; so commands write nothing here."
        return ""

    def command(self, words: list[str]) -> list[str]:
        """The command as it enters the sandbox. Makes the folders to be protected. Raises OSError."""
        able = self.able or ability()
        umask = named("--umask", [str(self.umask)] if self.umask is not None else [])
        temporary = os.path.realpath(self.temporary)
        writable = [temporary] if self.only_reads else [self.root, temporary]
        kept = [] if self.only_reads else self._protected()
        if able.seatbelt:
            profile = seatbelt.profile(writable, self.hidden, kept, network=self.network)
            return [*LAUNCHER, *umask, seatbelt.PROGRAM, "-p", profile, *words]
        if not able.landlock:
            return [*LAUNCHER, *umask, *words]
        given = ["--landlock", *umask, *(["--network"] if self.network else []), *named("--write", writable)]
        given += named("--hide", self.hidden)
        if able.spaces:
            git = os.path.join(self.root, ".git")
            given += [
                "--spaces",
                *named("--keep", kept),
                *named("--pin", [git] if os.path.isdir(git) else []),
            ]
        return [*LAUNCHER, *given, *words]

    def environment(self, given: Mapping[str, str]) -> dict[str, str]:
        """Of the daemon's variables what a command is to see: none that looks like a secret."""
        kept = {name: value for name, value in given.items() if not secret(name, value)}
        own = dict.fromkeys(("TMPDIR", "TMP", "TEMP"), os.path.realpath(self.temporary))
        return {**kept, **NO_TERMINAL, **own}

    def _protected(self) -> list[str]:
        """Their real paths. What is not there yet is made, or it could be made by the command."""
        root, found = Path(self.root), [".opta"]
        (root / ".opta").mkdir(exist_ok=True)
        if (root / ".git").is_dir():
            (root / ".git" / "hooks").mkdir(exist_ok=True)
            found += [name for name in PROTECTED[1:] if (root / name).exists()]
        elif (root / ".git").exists():
            found.append(".git")  # it names the folder of the repository
        return [str(root / name) for name in found]


def secret(name: str, value: str) -> bool:
    return bool(SECRET_NAME.search(name) or OTHERS.match(name) or SECRET_VALUE.search(value))


def named(option: str, values: list[str]) -> list[str]:
    return [word for value in values for word in (option, value)]


# `-I -S`: nothing of the user's folders or environment changes what it does.
LAUNCHER = (sys.executable, "-I", "-S", enter.__file__)
