"""Where state lives: OPTA_HOME (the user's), LMX_HOME (models), .data (the sites in development)."""

import os
from pathlib import Path

from opta import env

CHECKOUT = Path(__file__).resolve().parent.parent


def opta_home() -> Path:
    """The daemon's and the client's state; OPTA_HOME, `~/.opta` by default."""
    return env.path("OPTA_HOME", Path.home() / ".opta")


def lmx_home() -> Path:
    """Models and LMX's own state; LMX_HOME, `~/.opta-lmx` by default."""
    return env.path("LMX_HOME", Path.home() / ".opta-lmx")


def lmx_models() -> Path:
    """The folder whose subfolders are models; LMX_MODELS, `models` in LMX_HOME by default."""
    return env.path("LMX_MODELS", lmx_home() / "models")


def data() -> Path:
    """The sites' state in development; OPTA_DATA, `.data` in the checkout by default."""
    return env.path("OPTA_DATA", CHECKOUT / ".data")


def private(folder: Path) -> Path:
    """Make `folder` if need be, readable by its owner alone, and return it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def replace(file: Path, text: str | bytes) -> None:
    """Write a file of the user's alone, at once: a reader sees the old one or the new one, never half."""
    # A name of its own: two that write at once each finish their own draft.
    draft = file.with_name(f"{file.name}.{os.getpid()}.new")
    draft.unlink(missing_ok=True)
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(text.encode() if isinstance(text, str) else text)
            out.flush()
            os.fsync(out.fileno())
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)
