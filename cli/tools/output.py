"""What a command writes: its beginning and end for the model, all of it in a file once that is too long."""

import asyncio
import re
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from opta import paths

# What a result shows of the beginning, and as much of the end.
HALF = 16_000
PIECE = 65_536
# Beyond this nobody reads it; the file then ends.
LONGEST = 64_000_000
KEPT_SECONDS = 7 * 86_400
# What moves a cursor and colours text (ECMA-48), and what a terminal obeys in other ways.
ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_].*?(?:\x07|\x1b\\)|[ -/]*[0-~])", re.DOTALL)
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
OVERWRITTEN = re.compile(r"[^\n]*\r(?!\n|$)")


def folder(session: str) -> Path:
    """Where long outputs of a session lie; its read_file reaches them."""
    return paths.opta_home() / "daemon" / "outputs" / (session or "none")


@dataclass
class Output:
    """Bytes as they come. `file` is where they all lie, once there are too many to show."""

    session: str
    head: bytearray = field(default_factory=bytearray)
    tail: bytearray = field(default_factory=bytearray)
    size: int = 0
    file: Path | None = None

    async def take(self, source: asyncio.StreamReader) -> None:
        """All that comes. Raises OSError when the disk is full: what was shown so far is there."""
        while piece := await source.read(PIECE):
            await self.add(piece)

    async def add(self, piece: bytes) -> None:
        self.size += len(piece)
        room = HALF - len(self.head)
        self.head += piece[:room]
        self.tail += piece[max(room, 0) :]
        if self.size > 2 * HALF:
            # The first time this is the whole of what there was.
            new = bytes(piece if self.file else self.head + self.tail)
            del self.tail[:-HALF]
            await asyncio.to_thread(self._spill, new)

    def shown(self) -> str:
        if not self.file:
            return plain(bytes(self.head + self.tail))
        missing = self.size - len(self.head) - len(self.tail)
        left_out = f"(… {missing} bytes more: read_file shows all of it, path {self.file} …)"
        return "\n".join((plain(bytes(self.head)).rstrip("\n"), left_out, plain(bytes(self.tail))))

    def _spill(self, data: bytes) -> None:
        if self.file is None:
            at = folder(self.session)
            paths.private(at.parent)
            forget(at.parent)
            self.file = paths.private(at) / f"{uuid4().hex}.txt"
        with self.file.open("ab") as file:
            room = LONGEST - file.tell()
            file.write(data.replace(b"\0", b"")[: max(room, 0)])


def forget(folder: Path) -> None:
    """Take away the outputs of long ago."""
    oldest = time.time() - KEPT_SECONDS
    for file in folder.glob("*/*.txt"):
        with suppress(FileNotFoundError):  # another call does the same
            if file.stat().st_mtime < oldest:
                file.unlink()


def plain(data: bytes) -> str:
    """As a person would have seen it: without colours, a line that was drawn over as it was last."""
    text = ANSI.sub("", data.decode(errors="replace")).replace("\r\n", "\n")
    return CONTROL.sub("", OVERWRITTEN.sub("", text))
