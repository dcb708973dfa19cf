"""Files changed on the disk all together or not at all; the old text is there until the new one is whole."""

import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_IMODE


@dataclass(frozen=True)
class Change:
    """What a file holds before and after; None where there is none. `path` has its links followed."""

    path: Path
    before: bytes | None
    after: bytes | None
    # Of a file that others stood for before, such as one under another name.
    mode: int | None = None


class Changed(Exception):
    """A file is not as it was when the change to it was made up."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path.name} has changed meanwhile. Read it again.")
        self.path = path


def carry_out(changes: Sequence[Change]) -> None:
    """Raises Changed, or OSError; the files are then as they were."""
    for change in changes:
        if change.before is not None and not os.access(change.path, os.W_OK):
            raise PermissionError(f"{change.path.name} is not to be written to.")
    with ExitStack() as drafts:
        ready = [(change, drafts.enter_context(draft(change))) for change in changes]
        with ExitStack() as undo:
            for change, new in ready:
                if content(change.path) != change.before:
                    raise Changed(change.path)
                if len(changes) > 1:  # one alone is there or not
                    drafts.enter_context(kept(change, undo))
                if new:
                    new.replace(change.path)
                else:
                    change.path.unlink()
            undo.pop_all()


def content(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None


@contextmanager
def draft(change: Change) -> Iterator[Path | None]:
    """The new file, whole and on the disk, under another name beside it; removed if it stays there."""
    if change.after is None:
        yield None
        return
    with folders(change.path.parent):
        file = beside(change.path)
        try:
            # A new file is as the user's others are: 0666 without what the umask takes away.
            with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as out:
                if (mode := mode_of(change)) is not None:
                    os.fchmod(out.fileno(), mode)
                out.write(change.after)
                out.flush()
                os.fsync(out.fileno())
            yield file
        finally:
            file.unlink(missing_ok=True)


@contextmanager
def folders(wanted: Path) -> Iterator[None]:
    """The folder, made where it is missing; what was made is removed again when it stays empty."""
    made = [folder for folder in (wanted, *wanted.parents) if not folder.exists()]
    wanted.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        with suppress(OSError):  # it is in use
            for folder in made:
                folder.rmdir()


@contextmanager
def kept(change: Change, undo: ExitStack) -> Iterator[None]:
    """The old file under a second name, until all is done; `undo` puts it back, which needs no room."""
    if change.before is None:
        undo.callback(change.path.unlink, missing_ok=True)
        yield
        return
    old = beside(change.path)
    try:
        os.link(change.path, old)
    except OSError:  # not on every file system
        shutil.copy2(change.path, old)
    undo.callback(old.replace, change.path)
    try:
        yield
    finally:
        old.unlink(missing_ok=True)


def beside(file: Path) -> Path:
    return file.with_name(f".opta-{secrets.token_hex(8)}.new")


def mode_of(change: Change) -> int | None:
    if change.mode is not None:
        return change.mode
    return None if change.before is None else S_IMODE(change.path.stat().st_mode)
