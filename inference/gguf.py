"""The header of a GGUF file: what it says of itself, read without any tensor and without llama.cpp.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import math
import mmap
import struct
from functools import lru_cache
from pathlib import Path
from typing import Any

MAGIC, VERSIONS = b"GGUF", (2, 3)
# Numbers by their type in the file; then come text and lists, which are no numbers.
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, LIST = 8, 9
PARAMETERS = "general.parameter_count"
# A header this large is no header: the largest vocabularies take some 20 MB.
LARGEST = 64 << 20
# Longer texts and lists are passed over, but for chat templates, which are texts of this size at most.
LONGEST_TEXT, LONGEST_LIST = 1 << 20, 4096
# The most that a tensor has.
DIMENSIONS = 4

Header = dict[str, Any]


def read(file: Path) -> Header:
    """The metadata by key, without long lists such as the vocabulary; PARAMETERS is counted from the tensors
    of this file. Raises OSError or ValueError."""
    stat = file.stat()
    return cached(file, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=512)
def cached(file: Path, _: int, size: int) -> Header:
    with file.open("rb") as opened:
        if opened.read(4) != MAGIC or size < 24:
            raise ValueError("it is no GGUF file")
        with mmap.mmap(opened.fileno(), min(size, LARGEST), access=mmap.ACCESS_READ) as data:
            return Reader(data).header()


class Reader:
    """Goes through the bytes once; a length that leads beyond them is a ValueError."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.at, self.end = data, 4, len(data)

    def header(self) -> Header:
        version = self.number("I")
        if version not in VERSIONS:
            raise ValueError(f"it is of GGUF's version {version}, and {VERSIONS[-1]} is known")
        tensors = self.number("Q")
        found: Header = {}
        for _ in range(self.number("Q")):  # ends early, at the end of the bytes
            key = self.text()
            value = self.value(self.number("I"))
            if value is not None:
                found[key] = value
        found[PARAMETERS] = sum(self.size() for _ in range(tensors))
        return found

    def size(self) -> int:
        """How many weights the next tensor has: name, dimensions, type, offset."""
        self.text()
        if (dimensions := self.number("I")) > DIMENSIONS:
            raise ValueError(f"it has a tensor of {dimensions} dimensions, and {DIMENSIONS} are the most")
        size: int = math.prod([self.number("Q") for _ in range(dimensions)])
        self.skip(4 + 8)
        return size

    def skip(self, size: int) -> int:
        """Where the next `size` bytes begin."""
        begin, self.at = self.at, self.at + size
        if self.at > self.end:
            raise ValueError("its header is cut off, or too large")
        return begin

    def number(self, kind: str) -> Any:
        return struct.unpack_from(f"<{kind}", self.data, self.skip(struct.calcsize(f"<{kind}")))[0]

    def text(self) -> str:
        size = self.number("Q")
        begin = self.skip(size)
        if size > LONGEST_TEXT:
            return ""
        return self.data[begin : self.at].decode("utf-8", "replace")

    def value(self, kind: int) -> Any:
        """None for a list too long to be kept."""
        if kind == STRING:
            return self.text()
        if kind == LIST:
            return self.items(self.number("I"), self.number("Q"))
        return self.number(known(kind))

    def items(self, kind: int, count: int) -> list[Any] | None:
        if count <= LONGEST_LIST and kind != LIST:
            return [self.value(kind) for _ in range(count)]
        if kind == STRING:
            self.pass_over(count)
        else:
            self.skip(count * struct.calcsize(f"<{known(kind)}"))
        return None

    def pass_over(self, count: int) -> None:
        """Texts, of a vocabulary: hundreds of thousands, so there is nothing here but their lengths."""
        data, at, end = self.data, self.at, self.end
        for _ in range(count):
            at += 8 + int.from_bytes(data[at : at + 8], "little")
            if at > end:
                break
        self.at = at
        self.skip(0)


def known(kind: int) -> str:
    if kind not in NUMBERS:
        raise ValueError(f"its header holds a value of the unknown type {kind}")
    return NUMBERS[kind]
