"""How a client finds the daemon: the files in OPTA_HOME/daemon, written by the daemon alone."""

import os
import stat
from pathlib import Path

from pydantic import BaseModel, ValidationError

from opta import paths


class State(BaseModel):
    """`state.json`: the process that holds the lock, and where it listens.

    `supervisor` names what started it and will start it again, as systemd; nothing does by default.
    """

    pid: int
    port: int
    version: str
    protocol: int
    supervisor: str = ""


def folder() -> Path:
    return paths.private(paths.private(paths.opta_home()) / "daemon")


def lock_file() -> Path:
    """Held by `flock` for as long as the daemon lives: the one proof that it is there."""
    return folder() / "lock"


def starting_file() -> Path:
    """Held by `flock` by the one client that starts a daemon; the others wait for it."""
    return folder() / "starting"


def state_file() -> Path:
    return folder() / "state.json"


def token_file() -> Path:
    return folder() / "token"


def tokens_file() -> Path:
    """The hashes of other programs' tokens."""
    return folder() / "tokens.json"


def log_file() -> Path:
    return folder() / "daemon.log"


def rotated_log_file() -> Path:
    """What daemon.log was before it became too large."""
    return folder() / "daemon.log.1"


def read() -> State | None:
    """The state the last daemon wrote; None when there is none or a crash left half a file."""
    try:
        return State.model_validate_json(state_file().read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def token() -> str:
    """The daemon's own token."""
    return token_file().read_text().strip()


def mend() -> list[str]:
    """Take from other users what they may do with the daemon's files; a sentence for each that was open."""
    if os.name != "posix":  # elsewhere the home folder's own list of rights keeps others out
        return []
    return [said for path in (folder(), *folder().iterdir()) if (said := restrict(path))]


def restrict(path: Path) -> str:
    """Make `path` its owner's alone; what was wrong with it, or nothing."""
    try:
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode) or not mode & 0o077:
            return ""
        path.chmod(stat.S_IMODE(mode) & 0o700)
    except FileNotFoundError:  # a draft that became its file meanwhile
        return ""
    again = " Whoever read it can use it until the daemon starts anew." if path == token_file() else ""
    return f"{path} was open to other users (mode {stat.S_IMODE(mode):o}); it is yours alone now.{again}"
