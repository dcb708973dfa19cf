"""How a client finds the daemon: the files in OPTA_HOME/daemon, written by the daemon alone."""

from pathlib import Path

from pydantic import BaseModel, ValidationError

from opta import paths


class State(BaseModel):
    """`state.json`: the process that holds the lock, and where it listens."""

    pid: int
    port: int
    version: str
    protocol: int


def folder() -> Path:
    return paths.private(paths.private(paths.opta_home()) / "daemon")


def lock_file() -> Path:
    """Held by `flock` for as long as the daemon lives: the one proof that it is there."""
    return folder() / "lock"


def state_file() -> Path:
    return folder() / "state.json"


def token_file() -> Path:
    return folder() / "token"


def log_file() -> Path:
    return folder() / "daemon.log"


def read() -> State | None:
    """The state the last daemon wrote; None when there is none or a crash left half a file."""
    try:
        return State.model_validate_json(state_file().read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
