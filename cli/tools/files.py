"""Tools that read the files of a session's folder, and nothing outside of it."""

import asyncio
import os
import re
import sys
from asyncio.subprocess import PIPE
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Annotated, TextIO

from pydantic import Field

from cli.tools import output, search
from cli.tools.background import Background
from cli.tools.internet import Internet
from cli.tools.search import Names, binary, clipped
from cli.tools.seen import Seen
from cli.tools.text import Text

# Beyond this a result fills the window of a small model; it then says how to get at the rest.
LIMIT_BYTES = 32_000
LIMIT_LINES = 1_000
FOUND = 200
# A file that is larger is no text that anybody wrote; up to the second, it is read at once and can be edited.
READ_BYTES = 100_000_000
TEXT_BYTES = 10_000_000
ENTRIES = 500


Where = Annotated[str, Field(description="A path, from the working directory.")]
Ignored = Annotated[bool, Field(description="Also look at what .gitignore names, such as builds.")]
From = Annotated[str, Field(description="The folder to look in, from the working directory.")]


# Folders that no tool changes: what stands there is run, or says what may be.
KEPT = {".git", ".opta"}


class Outside(ValueError):
    """A path that leads out of the working directory."""


class Kept(ValueError):
    """A path in one of the folders that no tool changes."""


@dataclass(frozen=True)
class Workspace:
    """A session's folder: paths are taken from it, and held inside of it once links are followed."""

    cwd: Path
    search_seconds: float = 20.0
    session: str = ""
    seen: Seen = field(default_factory=Seen)
    web: Internet = field(default_factory=Internet)
    jobs: Background | None = None

    def inside(self, path: str) -> Path:
        """The real path. Raises Outside, and FileNotFoundError when there is none."""
        found = self._real(path)
        if not found.exists():
            raise FileNotFoundError(f"There is no {path} in {self.cwd.resolve()}.{self._nearest(found)}")
        return found

    def place(self, path: str) -> Path:
        """The real path that a file to be changed has, or will have. Raises Outside, and Kept."""
        found = self._real(path)
        names = (part.casefold() for part in found.relative_to(self.cwd.resolve()).parts)
        if kept := next((name for name in names if name in KEPT), None):
            raise Kept(f"{path} is in {kept}, which no tool changes. Ask the user to do it.")
        return found

    def readable(self, path: str) -> Path:
        """As inside, and also what a command of this session wrote at length."""
        written = Path(path)
        if written.parent == output.folder(self.session) and written.is_file():
            return written
        return self.inside(path)

    def name(self, path: Path) -> str:
        return path.relative_to(self.cwd.resolve()).as_posix() or "."

    def _real(self, path: str) -> Path:
        root, written = self.cwd.resolve(), Path(path).expanduser()
        found = (root / written).resolve()
        if not found.is_relative_to(root):
            raise Outside(f"{path} is outside of the working directory {root}.")
        return found

    def _nearest(self, missing: Path) -> str:
        """What the folder has instead, for the model to choose from."""
        try:
            names = sorted(islice((entry.name for entry in os.scandir(missing.parent)), ENTRIES))
        except OSError:
            return ""
        alike = [name for name in names if name.lower().startswith(missing.name[:3].lower())]
        return f" Its folder has: {', '.join((alike or names)[:20])}." if names else ""


def read_file(
    workspace: Workspace,
    path: Where,
    first_line: Annotated[int, Field(ge=1, description="Where to begin; 1 is the first line.")] = 1,
    lines: Annotated[int, Field(ge=1, le=LIMIT_LINES, description="How many lines to read.")] = LIMIT_LINES,
) -> str:
    """Read a text file. Each line comes with its number and a tab before it."""
    file = workspace.readable(path)
    if file.is_dir():
        raise IsADirectoryError(f"{path} is a folder: list_dir shows what is in it.")
    if not file.is_file():
        raise ValueError(f"{path} is no file that can be read: a device, a pipe or a socket.")
    if file.stat().st_size > READ_BYTES:
        raise ValueError(f"{path} has {file.stat().st_size} bytes: more than can be read here.")
    shown: list[str] = []
    size, more = 0, False
    with opened(workspace, path, file) as source:
        for number, line in enumerate(source, 1):
            if number < first_line:
                continue
            text = f"{number}\t{clipped(line)}"
            size += len(text.encode()) + 1
            if len(shown) == lines or (shown and size > LIMIT_BYTES):
                more = True
                break
            shown.append(text)
    if not shown:
        return f"({path} has fewer than {first_line} lines.)" if first_line > 1 else f"({path} is empty.)"
    following = first_line + len(shown)
    rest = [f"(There is more: go on with first_line {following}.)"] if more else []
    return "\n".join([*shown, *rest])


def opened(workspace: Workspace, path: str, file: Path) -> TextIO:
    """The file's text; what can be edited is remembered as it was read."""
    if file.stat().st_size > TEXT_BYTES:
        if binary(file):
            raise ValueError(f"{path} is binary ({file.stat().st_size} bytes), and cannot be read as text.")
        return file.open(encoding="utf-8-sig", errors="replace", newline="\n")
    data = file.read_bytes()
    try:
        text = Text.of(data).text
    except ValueError as error:
        raise ValueError(f"{path} {error}.") from error
    workspace.seen.note(workspace.session, file, data)
    return StringIO(text, newline="\n")


def list_dir(workspace: Workspace, path: From = ".") -> str:
    """List a folder: names, with / behind folders, and the sizes of files in bytes."""
    folder = workspace.inside(path)
    if not folder.is_dir():
        raise NotADirectoryError(f"{path} is a file: read_file shows what is in it.")
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    rows = [row(entry) for entry in entries[:ENTRIES]]
    if len(entries) > ENTRIES:
        rows.append(f"({len(entries) - ENTRIES} more: glob finds them by their names.)")
    return "\n".join(rows) or f"({path} is empty.)"


def glob(
    workspace: Workspace,
    pattern: Annotated[str, Field(description="Such as *.py, src/**/*.ts or README*.")],
    path: From = ".",
    ignored: Ignored = False,
) -> str:
    """Find files by their names. * stands for a part of a name, ** for any folders."""
    wanted, start = Names(pattern), workspace.inside(path)
    found = (
        workspace.name(file)
        for file in search.walk(workspace.cwd.resolve(), start, ignored=ignored)
        if wanted.match(file.relative_to(start))
    )
    return listed(found, f"No file matches {pattern!r}.")


async def grep(
    workspace: Workspace,
    pattern: Annotated[str, Field(description="A regular expression, as Python has them.")],
    path: Annotated[str, Field(description="A file or a folder, from the working directory.")] = ".",
    files: Annotated[str, Field(description="Only files of such names, for example *.py.")] = "*",
    ignored: Ignored = False,
) -> str:
    """Search the lines of text files. Each hit comes as path:line: text."""
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}.") from error
    start = await asyncio.to_thread(workspace.inside, path)
    # A process of its own: a pattern that takes hours would hold up everything else here.
    which = "ignored" if ignored else "tracked"
    where = (str(workspace.cwd.resolve()), str(start), pattern, files, which, str(FOUND + 1))
    process = await asyncio.create_subprocess_exec(sys.executable, "-I", search.__file__, *where, stdout=PIPE)
    try:
        async with asyncio.timeout(workspace.search_seconds):
            out, _ = await process.communicate()
    except TimeoutError as error:
        message = f"took longer than {workspace.search_seconds:g} s. Search fewer files, or more simply."
        raise ValueError(f"Searching for {pattern!r} {message}") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return listed(iter(out.decode().split("\n")[:-1]), f"No line matches {pattern!r}.")


def listed(found: Iterator[str], none: str) -> str:
    """One a line, up to FOUND and LIMIT_BYTES; it says when there is more."""
    rows, size = list(islice(found, FOUND + 1)), 0
    for count, each in enumerate(rows):
        size += len(each.encode(errors="replace")) + 1
        if count == FOUND or size > LIMIT_BYTES:
            return "\n".join([*rows[:count], "(There is more: ask for less at once.)"])
    return "\n".join(rows) or none


def row(entry: "os.DirEntry[str]") -> str:
    if entry.is_symlink():
        return f"{entry.name} → {os.readlink(entry.path)}"
    if entry.is_dir():
        return f"{entry.name}/"
    return f"{entry.name}\t{entry.stat(follow_symlinks=False).st_size}"
