"""Which folders the user trusts: nothing that a project brings takes effect before its folder is one of them.

A cloned repository is a stranger's. Its configuration, instructions, hooks, servers and tools are read
by whoever asks `trusted` first; a decision holds for the folder and all below, and the nearest one wins.
One file a folder in OPTA_HOME/trust: two commands at once lose none, and a crash leaves none half.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from opta import paths

# What a project may bring, by its name in the project's folder.
BRINGS = (".opta", "AGENTS.md", "OPTA.md")


class TooWide(Exception):
    """The folder is none that can be trusted: it holds whatever will be cloned one day."""


@dataclass(frozen=True)
class Decision:
    """What the user said of a folder, and when (ISO 8601, UTC)."""

    folder: str
    trusted: bool
    decided: str


def trusted(folder: Path) -> bool:
    """Whether what a project in `folder` brings may take effect. Never asked about is no."""
    decision = nearest(folder)
    return decision is not None and decision.trusted


def nearest(folder: Path) -> Decision | None:
    """The decision on `folder`, or on the nearest folder above that has one."""
    here = folder.resolve()
    return next((found for each in (here, *here.parents) if (found := read(each))), None)


def grant(folder: Path) -> Path:
    """Trust `folder` and all below; returns it without symbolic links. Raises TooWide."""
    here = folder.resolve()
    if too_wide(here):
        raise TooWide(f"{here} cannot be trusted as a whole: it holds whatever you will ever clone into it.")
    return record(here, trusted=True)


def too_wide(folder: Path) -> bool:
    return folder in (Path.home().resolve(), Path(folder.anchor))


def refuse(folder: Path) -> Path:
    """Take trust from `folder` and all below, also where a folder above has it."""
    return record(folder.resolve(), trusted=False)


def decisions() -> list[Decision]:
    """Every decision, by folder."""
    found = (parse(file) for file in store().glob("*.json"))
    return sorted((each for each in found if each), key=lambda decision: decision.folder)


def brought(cwd: Path) -> list[Path]:
    """What projects bring to `cwd`: from its own folder upward, the nearest first."""
    user, here = paths.opta_home().resolve(), cwd.resolve()
    folders = (folder for folder in (here, *here.parents) if not too_wide(folder))
    found = (folder / name for folder in folders for name in BRINGS)
    return [path for path in found if path != user and brings_any(path)]


def brings_any(path: Path) -> bool:
    """An empty folder brings nothing: the sandbox makes one, that no command may fill it."""
    try:
        return any(path.iterdir()) if path.is_dir() else path.exists()
    except PermissionError:  # then what is in it is not known
        return True


def unused(cwd: Path) -> list[Path]:
    """What is brought to `cwd` and held back, because its folder is not trusted."""
    return [path for path in brought(cwd) if not trusted(path.parent)]


def store() -> Path:
    return paths.private(paths.private(paths.opta_home()) / "trust")


def file_of(folder: Path) -> Path:
    # The name is a hash, for a path may be longer than a file name can be.
    return store() / f"{hashlib.sha256(str(folder).encode(errors='surrogateescape')).hexdigest()[:32]}.json"


def record(folder: Path, *, trusted: bool) -> Path:
    decision = Decision(str(folder), trusted, datetime.now(UTC).isoformat(timespec="seconds"))
    paths.replace(file_of(folder), json.dumps(asdict(decision)))
    return folder


def read(folder: Path) -> Decision | None:
    return parse(file_of(folder), folder)


def parse(file: Path, folder: Path | None = None) -> Decision | None:
    """The decision in a file; None without one. One that cannot be read counts as a refusal."""
    try:
        return Decision(**json.loads(file.read_text()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError):
        return Decision(str(folder or file), trusted=False, decided="")
