"""A job's folder, as its keeper writes it and the daemon reads it."""

import codecs
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from cli.protocol import state
from opta import paths


class Piece(NamedTuple):
    """Output from byte `start` to `next`; `more` is whether there is some behind it by now."""

    start: int
    next: int
    more: bool
    text: str


class Record:
    """The files of one job. Its keeper holds the lock for as long as it lives, as no pid could prove."""

    def __init__(self, id: str) -> None:
        self.folder = home() / id

    @contextmanager
    def made(self) -> Iterator[int]:
        """A new folder, and the lock for a keeper to inherit. Raises FileExistsError."""
        self.folder.mkdir(mode=0o700)
        lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield lock
        finally:
            os.close(lock)

    def temporary(self) -> Path:
        """A new folder in it, for what the command makes while it runs."""
        folder = self.folder / "temporary"
        folder.mkdir(mode=0o700)
        return folder

    def kept(self) -> bool:
        """Whether a keeper is there."""
        try:
            lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def pid(self) -> int | None:
        return number(self.folder / "pid")

    def code(self) -> int | None:
        """The exit status, negative for a signal; None while there is none."""
        return number(self.folder / "ended")

    def size(self) -> int:
        """How many bytes the job has written."""
        starts = self._starts()
        return starts[-1] + self._length(starts[-1]) if starts else 0

    def read(self, after: int, limit: int, *, last: bool) -> Piece:
        """What was written from byte `after` on, as text; `last` when nothing will be added to it.

        A character of which half is there is left for the next time.
        """
        data = bytearray()
        start = None
        for each in self._starts():
            length = self._length(each)
            if after >= each + length or len(data) >= limit:
                continue
            begin = max(after, each)
            if start is None:
                start = begin
            elif begin != start + len(data):
                break  # the file before this one went away meanwhile
            data += self._part(each, begin - each, limit - len(data))
        start = min(after, self.size()) if start is None else start
        end = start + len(data)
        more = end < self.size()
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        text = decoder.decode(bytes(data), final=last and not more)
        half = len(decoder.getstate()[0])
        if more and half == len(data):  # of so few bytes nothing would ever come
            text, half = decoder.decode(b"", final=True), 0
        return Piece(start, end - half, more, text)

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _starts(self) -> list[int]:
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            return []
        return sorted(int(name.removeprefix("output.")) for name in names if name.startswith("output."))

    def _length(self, start: int) -> int:
        try:
            return (self.folder / f"output.{start}").stat().st_size
        except FileNotFoundError:  # the oldest goes when a new one begins
            return 0

    def _part(self, start: int, skip: int, limit: int) -> bytes:
        try:
            with (self.folder / f"output.{start}").open("rb") as source:
                source.seek(skip)
                return source.read(limit)
        except FileNotFoundError:
            return b""


def home() -> Path:
    return paths.private(state.folder() / "jobs")


def everyone() -> list[str]:
    """The ids of all jobs that have a folder."""
    return sorted(os.listdir(home()))


def number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except FileNotFoundError:
        return None
