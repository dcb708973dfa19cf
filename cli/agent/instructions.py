"""What a project tells whoever works in it: AGENTS.md, OPTA.md and .opta/*.md, from the folder upward."""

from collections.abc import Callable, Iterator
from pathlib import Path

from cli.agent.context import cut

NAMES = ("AGENTS.md", "OPTA.md")
# Bytes of one file that are read; a longer one is no instruction but a manual, which a tool may read.
LONGEST = 32_000


def read(cwd: Path, trusted: Callable[[Path], bool]) -> str:
    """The instructions that hold in `cwd`, the nearest last; nothing of a folder that is not trusted."""
    folders = [folder for folder in (*reversed(cwd.parents), cwd) if trusted(folder)]
    found = (file for folder in folders for file in files(folder))
    return "\n\n".join(f"Instructions from {file}:\n{text}" for file in found if (text := content(file)))


def files(folder: Path) -> Iterator[Path]:
    """Those of one folder. A link that leads out of it is none: the prompt is no place for such a file."""
    here = folder.resolve()
    named = (*(folder / name for name in NAMES), *sorted((folder / ".opta").glob("*.md")))
    return (file for file in named if file.is_file() and file.resolve().is_relative_to(here))


def content(file: Path) -> str:
    """The text, or why there is none: an instruction that is not followed should not go unnoticed."""
    try:
        with file.open("rb") as data:
            return cut(data.read(2 * LONGEST).decode(errors="replace").strip(), LONGEST)
    except OSError as error:
        return f"(This file could not be read: {error.strerror}.)"
