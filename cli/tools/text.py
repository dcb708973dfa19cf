"""The text in a file's bytes, so that an edit leaves its encoding, its mark and its line ends as they are."""

import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from dataclasses import dataclass

# By their marks at the beginning of a file.
MARKED = {BOM_UTF8: "utf-8", BOM_UTF16_LE: "utf-16-le", BOM_UTF16_BE: "utf-16-be"}
# Every byte means something in the last one.
UNMARKED = ("utf-8", "cp1252", "latin-1")
# Where a NUL says that it is no text; git goes by the same.
BEGINNING = 8_000
BARE = re.compile(r"(?<!\r)\n")


@dataclass(frozen=True)
class Text:
    r"""`text` has \n between its lines where the file has the same `end` at all of them, and is as it stands
    where it has both."""

    text: str
    encoding: str = "utf-8"
    mark: bytes = b""
    end: str = "\n"

    @classmethod
    def of(cls, data: bytes) -> "Text":
        """Raises ValueError for what is no text."""
        mark = next((mark for mark in MARKED if data.startswith(mark)), b"")
        if mark not in (BOM_UTF16_LE, BOM_UTF16_BE) and b"\0" in data[:BEGINNING]:
            raise ValueError(f"is binary ({len(data)} bytes), and cannot be read as text")
        for encoding in [MARKED[mark]] if mark else UNMARKED:
            try:
                text = data[len(mark) :].decode(encoding)
            except UnicodeDecodeError:
                continue
            if "\r\n" in text and not BARE.search(text):
                return cls(text.replace("\r\n", "\n"), encoding, mark, "\r\n")
            return cls(text, encoding, mark)
        raise ValueError(f"begins as {MARKED[mark]} and holds what that cannot have")

    def given(self, text: str) -> str:
        r"""What a model wrote, with line ends as `text` has them: \r\n is \n where all lines end the same."""
        return text.replace("\r\n", "\n") if self.end == "\r\n" else text

    def data(self, text: str) -> bytes:
        """The bytes of another text in this file. Raises ValueError for what its encoding does not have."""
        try:
            return self.mark + text.replace("\n", self.end).encode(self.encoding)
        except UnicodeEncodeError as error:
            what = text[error.start]
            raise ValueError(f"is {self.encoding}, which has no {what!r}: write it otherwise") from error
