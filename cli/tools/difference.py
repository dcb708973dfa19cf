"""What is different between two texts, short enough for a model's window."""

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from itertools import takewhile
from typing import NamedTuple

from cli.tools.edit import bare, lines_of

SHOWN_BYTES = 4_000
LINE_CHARS = 200
# Of texts with more lines between their first and their last difference, only which these are is told.
COMPARED = 20_000
AROUND = 1
OPEN = "\\ No newline at end of file"


class Difference(NamedTuple):
    """A unified diff, and whether it shows all."""

    shown: str
    whole: bool


def difference(old: str, new: str) -> Difference:
    before, after = lines_of(old), lines_of(new)
    head = same_lines(before, after)
    tail = same_lines(before[head:][::-1], after[head:][::-1])
    begin, end = max(head - AROUND, 0), max(tail - AROUND, 0)
    before, after = before[begin : len(before) - end], after[begin : len(after) - end]
    if max(len(before), len(after)) > COMPARED:
        return Difference(f"(lines {begin + 1} to {begin + len(after)} are new)", False)
    text = "\n".join(rows(before, after, begin))
    shown = shortened(text, SHOWN_BYTES)
    return Difference(shown, shown == text and not any(len(line) > LINE_CHARS for line in before + after))


def same_lines(one: Sequence[str], other: Sequence[str]) -> int:
    """How many lines both begin with."""
    return len(list(takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))))


def rows(before: Sequence[str], after: Sequence[str], above: int) -> Iterator[str]:
    """The hunks of a unified diff, of texts that stand `above` lines down in their files."""
    for group in SequenceMatcher(None, before, after).get_grouped_opcodes(AROUND):
        (_, a, _, c, _), (_, _, b, _, d) = group[0], group[-1]
        yield f"@@ -{above + a + 1},{b - a} +{above + c + 1},{d - c} @@"
        for what, i, j, k, n in group:
            if what == "equal":
                yield from marked(" ", before[i:j])
            else:
                yield from [*marked("-", before[i:j]), *marked("+", after[k:n])]


def marked(mark: str, lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        yield f"{mark}{bare(line)[:LINE_CHARS]}"
        if not line.endswith("\n"):
            yield OPEN


def shortened(text: str, limit: int) -> str:
    """Its first lines, as many as fit in so many bytes; it says how many there are besides."""
    if len(text.encode(errors="replace")) <= limit:
        return text
    lines, size = text.split("\n"), 0
    for count, line in enumerate(lines):
        size += len(line.encode(errors="replace")) + 1
        if size > limit:
            return "\n".join([*lines[:count], f"({len(lines) - count} lines more)"])
    return text
