"""Walking and searching a folder; as a program (ROOT START PATTERN NAMES COUNT) it prints what matches.

It needs nothing but Python, so that it starts in an instant.
"""

import os
import re
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path

# A line that is longer is data: its beginning tells what it is.
LINE_CHARS = 2_000
# What a search looks at, at most: a home folder has millions of files.
SCANNED = 50_000
SEARCHED_BYTES = 10_000_000
# Never walked into; they can be named all the same.
SKIPPED = {".git", ".hg", ".svn", "node_modules", "__pycache__", ".venv", "venv", ".tox", ".mypy_cache"}
BRACES = re.compile(r"\{([^{}]*,[^{}]*)\}")


def walk(root: Path, start: Path) -> Iterator[Path]:
    """Every file under `start`, in order, up to SCANNED; a link counts when what it leads to is in `root`."""
    return islice(files(root, start), SCANNED)


def files(root: Path, start: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(start):
        folders[:] = sorted(each for each in folders if each not in SKIPPED)
        for file in (Path(folder, name) for name in sorted(names)):
            if file.is_file() and (not file.is_symlink() or file.resolve().is_relative_to(root)):
                yield file


class Names:
    """A pattern of file names: * ? [] within a name, ** for any folders, {a,b} for either.

    One without a / is found in any folder.
    """

    def __init__(self, pattern: str) -> None:
        whole = pattern if "/" in pattern else f"**/{pattern}"
        self.ways = [way.removeprefix("./").split("/") for way in expanded(whole)]

    def match(self, path: Path) -> bool:
        return any(fits(list(path.parts), way) for way in self.ways)


def expanded(pattern: str) -> list[str]:
    """`*.{c,h}` as `*.c` and `*.h`."""
    found = BRACES.search(pattern)
    if not found:
        return [pattern]
    before, after = pattern[: found.start()], pattern[found.end() :]
    return [way for each in found[1].split(",") for way in expanded(before + each + after)]


def fits(names: list[str], way: list[str]) -> bool:
    if not way or not names:
        return names == [] and all(part == "**" for part in way)
    if way[0] == "**":
        return fits(names, way[1:]) or fits(names[1:], way)
    return fnmatchcase(names[0], way[0]) and fits(names[1:], way[1:])


def matching(file: Path, wanted: re.Pattern[str]) -> Iterator[tuple[int, str]]:
    """The lines of a text file that match, with their numbers; none of a file that cannot be read."""
    try:
        if file.stat().st_size > SEARCHED_BYTES or binary(file):
            return
        with file.open(encoding="utf-8-sig", errors="replace", newline="\n") as source:
            for number, line in enumerate(source, 1):
                if wanted.search(line[:LINE_CHARS].rstrip("\r\n")):
                    yield number, line
    except OSError:
        return  # it went away, or is not ours to read


def hits(root: Path, start: Path, wanted: re.Pattern[str], names: Names) -> Iterator[str]:
    for file in [start] if start.is_file() else walk(root, start):
        if file == start or names.match(file.relative_to(start)):
            for number, line in matching(file, wanted):
                yield f"{file.relative_to(root).as_posix()}:{number}: {clipped(line).strip()}"


def clipped(line: str) -> str:
    text = line.rstrip("\r\n")
    if len(text) <= LINE_CHARS:
        return text
    return f"{text[:LINE_CHARS]}… ({len(text) - LINE_CHARS} characters more)"


def binary(file: Path) -> bool:
    """Whether it has a NUL near its beginning: no text has, and git goes by the same."""
    with file.open("rb") as source:
        return b"\0" in source.read(8_000)


def main(root: str, start: str, pattern: str, names: str, count: str) -> None:
    found = hits(Path(root), Path(start), re.compile(pattern), Names(names))
    for hit in islice(found, int(count)):
        sys.stdout.buffer.write(hit.encode(errors="replace") + b"\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
