"""Walking and searching a folder; as a program (ROOT START PATTERN NAMES WHICH COUNT) it prints what matches.

It needs nothing of ours and, where git ignores nothing, nothing but Python: it starts in an instant.
"""

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

# A line that is longer is data: its beginning tells what it is.
LINE_CHARS = 2_000
# What a search looks at, at most: a home folder has millions of files.
SCANNED = 50_000
SEARCHED_BYTES = 10_000_000
# Never walked into, and walked into when what git ignores is asked for; they can be named all the same.
KEPT_BY_GIT = {".git", ".hg", ".svn"}
SKIPPED = {*KEPT_BY_GIT, "node_modules", "__pycache__", ".venv", "venv", ".tox", ".mypy_cache"}
# A longer file of patterns is none that anybody wrote.
IGNORE_BYTES = 1_000_000
BRACES = re.compile(r"\{([^{}]*,[^{}]*)\}")


def walk(root: Path, start: Path, *, ignored: bool = False) -> Iterator[Path]:
    """Every file under `start`, in order, up to SCANNED; a link counts when what it leads to is in `root`.

    What git ignores counts only when it is `ignored` that is asked for, or `start` itself.
    """
    return islice(everything(root, start, KEPT_BY_GIT) if ignored else files(root, start), SCANNED)


def everything(root: Path, start: Path, skipped: set[str]) -> Iterator[Path]:
    for folder, folders, names in os.walk(start):
        folders[:] = sorted(each for each in folders if each not in skipped)
        yield from there(root, folder, names)


def files(root: Path, start: Path) -> Iterator[Path]:
    rules = {str(start): above(root, start)}
    for folder, folders, names in os.walk(start):
        here = rules.pop(folder)
        kept = (each for each in folders if each not in SKIPPED)
        folders[:] = sorted(each for each in kept if not (here and here.ignore(f"{folder}/{each}/")))
        rules.update({path: within(path, here) for path in (f"{folder}/{each}" for each in folders)})
        yield from there(
            root, folder, (name for name in names if not (here and here.ignore(f"{folder}/{name}")))
        )


def there(root: Path, folder: str, names: Iterable[str]) -> Iterator[Path]:
    """The files of one folder."""
    for file in (Path(folder, name) for name in sorted(names)):
        if file.is_file() and (not file.is_symlink() or file.resolve().is_relative_to(root)):
            yield file


class Rules:
    """The patterns of one ignore file, and those of the folders above (git's gitignore(5))."""

    def __init__(self, folder: str, lines: list[str], above: "Rules | None") -> None:
        self.folder = folder
        # The last one that is about a path decides.
        self.patterns = [(each.regex, each.include) for each in reversed(compiled(lines)) if each.regex]
        self.above = above

    def ignore(self, path: str) -> bool:
        """Whether a path, with / behind a folder's, is ignored, where no folder above it is."""
        name = path[len(self.folder) + 1 :]
        for regex, include in self.patterns:
            if names(regex, name):
                return bool(include)
        return self.above is not None and self.above.ignore(path)


def names(regex: re.Pattern[str], path: str) -> bool:
    """Whether pathspec's expression of a pattern is about this very path, and not about a folder above it.

    Its one group is the / behind a folder; without one, no pattern is about a folder alone.
    """
    if not regex.groupindex:
        return regex.search(path.removesuffix("/")) is not None
    found = regex.finditer(path)
    return any(not each.lastgroup or each.end(each.lastgroup) == len(path) for each in found)


def compiled(lines: Iterable[str]) -> "Sequence[GitIgnoreSpecPattern]":
    from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern  # 20 ms

    found = []
    for line in lines:
        with suppress(ValueError):  # what is no pattern says nothing to git either
            found.append(GitIgnoreSpecPattern(line))
    return found


def above(root: Path, start: Path) -> Rules | None:
    """The rules in `start`: those of its repository (or of `root` where it is in none), from the top down."""
    folders = [start, *start.parents]
    tops = (place for place, folder in enumerate(folders) if (folder / ".git").exists())
    top = next(tops, folders.index(root))
    found: Rules | None = None
    for folder in map(str, reversed(folders[: top + 1])):
        # What is named is looked into, also when it is ignored.
        found = within(folder, None if found and found.ignore(f"{folder}/") else found)
    return found


def within(folder: str, above: Rules | None) -> Rules | None:
    """The rules in a folder; a repository within another has rules of its own."""
    if os.path.exists(f"{folder}/.git"):
        above = added(folder, ".git/info/exclude", None)
    return added(folder, ".gitignore", above)


def added(folder: str, name: str, above: Rules | None) -> Rules | None:
    """The rules with those of one file, if there is one. A link is none, as for git."""
    file = Path(folder, name)
    try:
        if file.is_symlink() or not file.is_file() or file.stat().st_size > IGNORE_BYTES:
            return above
        lines = file.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except OSError:
        return above  # not ours to read
    return Rules(folder, lines, above) if lines else above


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


def hits(
    root: Path, start: Path, wanted: re.Pattern[str], names: Names, *, ignored: bool = False
) -> Iterator[str]:
    for file in [start] if start.is_file() else walk(root, start, ignored=ignored):
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


def main(*words: str) -> None:
    root, start, pattern, names, which, count = words
    wanted, ignored = re.compile(pattern), which == "ignored"
    found = hits(Path(root), Path(start), wanted, Names(names), ignored=ignored)
    for hit in islice(found, int(count)):
        sys.stdout.buffer.write(hit.encode(errors="replace") + b"\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
