"""The words of a shell's line, and the simple commands that they make."""

import re
from dataclasses import dataclass
from typing import Literal, NamedTuple

# What may stand for it when the line runs: the text alone, names of files, or anything at all.
Kind = Literal["literal", "glob", "unknown"]
KINDS: tuple[Kind, ...] = ("literal", "glob", "unknown")


class Unknown(ValueError):
    """What a line runs cannot be told from it; the message says why, in half a sentence."""


class Word(NamedTuple):
    """A word with its quotes taken off."""

    text: str
    kind: Kind = "literal"

    @property
    def optional(self) -> bool:
        """Whether it may be an option that is not seen here."""
        return self.kind == "unknown" or (self.kind == "glob" and self.text[:1] in "*?[")


ANYTHING = Word("", "unknown")


@dataclass(frozen=True)
class Simple:
    """A command that a shell starts, or variables that it sets (then without words).

    `wraps`: it does nothing but start another one, which stands in the list as well. `reads` and `writes`
    are files that the shell opens for it.
    """

    words: tuple[Word, ...] = ()
    reads: tuple[Word, ...] = ()
    writes: tuple[Word, ...] = ()
    sets: tuple[str, ...] = ()
    wraps: bool = False

    def __str__(self) -> str:
        words = [word.text or "…" for word in self.words]
        return " ".join(
            [*(f"{name}=…" for name in self.sets), *words, *(f"> {word.text}" for word in self.writes)]
        )

    @property
    def texts(self) -> list[str]:
        return [word.text for word in self.words]

    @property
    def standard(self) -> bool:
        """Whether its program is the system's of that name, not a file beside."""
        return bool(self.words) and re.fullmatch(r"(/(usr/)?s?bin/)?[^/]+", self.words[0].text) is not None

    @property
    def program(self) -> str:
        return self.words[0].text.rpartition("/")[2] if self.words else ""
