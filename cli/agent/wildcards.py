"""Patterns of words: which may stand for one, and which for any number of them."""

import re
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from unicodedata import normalize

GLOB = re.compile(r"[*?\[]")


def same(
    words: Sequence[str],
    wanted: Sequence[str],
    any_number: str,
    *,
    alike: Callable[[str, str], bool] = fnmatchcase,
) -> bool:
    """Whether the words are those wanted, of which `any_number` stands for any number of words.

    Goes once through the words, with every place in `wanted` that may have been reached: no pattern and
    no line makes it slow.
    """
    at = skipping({0}, wanted, any_number)
    for word in words:
        if len(wanted) in at and wanted and wanted[-1] == any_number:
            return True
        reached = {place for place in at if place < len(wanted) and wanted[place] == any_number}
        reached |= {place + 1 for place in at - reached if place < len(wanted) and alike(word, wanted[place])}
        if not reached:
            return False
        at = skipping(reached, wanted, any_number)
    return len(wanted) in at


def skipping(at: set[int], wanted: Sequence[str], any_number: str) -> set[int]:
    """The places, and those behind what may also stand for no word at all."""
    found = set(at)
    for place in at:
        while place < len(wanted) and wanted[place] == any_number:
            place += 1
            found.add(place)
    return found


def folded(text: str) -> str:
    """As a file system may compare names that does not tell upper from lower case."""
    return normalize("NFC", text).casefold()


def literal(text: str) -> str:
    """The glob that is `text` and nothing else."""
    return GLOB.sub(lambda found: f"[{found[0]}]", text)
