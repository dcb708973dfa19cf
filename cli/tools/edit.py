"""Edits of a text: exactly where it stands, or where the same lines stand but for their blanks.

A text that is found exactly is replaced letter by letter. Otherwise whole lines are compared, ever more
loosely: without their ends, without the blanks behind them, without their indentation, without quotes and
dashes that editors make nice. What is found so must be found once, and its indentation must say where new
lines belong; lines that an edit repeats stay as the file has them.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

# Lines of a file that an error shows.
SHOWN = 12
SHOWN_CHARS = 160
NICE = str.maketrans("‘’‚‛“”„‟‐‑‒–—―−\u00a0\u202f\u3000", "''''\"\"\"\"-------   ")
NUMBERED = re.compile(r"\s*\d+\t")
WORD = re.compile(r"\w+|[^\w\s]")
TABS = (4, 2, 8, 3, 1)

# A line with what happens to it: " " stays, "-" goes, "+" comes.
Marked = tuple[str, str]


class Unmatched(ValueError):
    """What is to be replaced is not there, or not once; the message says what stands there instead."""


def bare(line: str) -> str:
    return line.removesuffix("\n").removesuffix("\r")


def trimmed(line: str) -> str:
    return bare(line).rstrip()


def plain(line: str) -> str:
    return " ".join(line.translate(NICE).split())


LEVELS: tuple[Callable[[str], str], ...] = (bare, trimmed, str.strip, plain)


@dataclass(frozen=True)
class Hunk:
    """Lines in their order. `at` is the line where they should stand, the first is 1; `after` a line before
    them; `last` whether they are the file's last ones; `open` whether the new last line has no end (None: as
    the file has it)."""

    lines: tuple[Marked, ...]
    at: int | None = None
    after: str = ""
    last: bool = False
    open: bool | None = None

    @property
    def old(self) -> list[str]:
        return [line for mark, line in self.lines if mark != "+"]


def lines_of(text: str) -> list[str]:
    r"""With their ends; only \n ends a line."""
    *ended, rest = text.split("\n")
    return [*(f"{line}\n" for line in ended), *([rest] if rest else [])]


def edit(text: str, old: str, new: str, *, every: bool = False) -> str:
    """The text with `new` for `old`, which stands in it once, or for `every` one. Raises Unmatched."""
    if not old:
        raise Unmatched("old_text is empty: give the lines that are to be replaced.")
    if old == new:
        raise Unmatched("old_text and new_text are the same: nothing would change.")
    found = occurrences(text, old)
    if every and found:
        return text.replace(old, new)
    if len(found) > 1:
        raise Unmatched(f"{several(text, found)} Give more of the lines around it, or set replace_all.")
    if found:
        return text[: found[0]] + new + text[found[0] + len(old) :]
    lines, hunk = lines_of(text), Hunk(marked(old, new))
    try:
        return "".join(patched(lines, hunk, place(lines, hunk, once=True)))
    except Unmatched as error:
        if new.strip() and (at := text.find(new)) >= 0:
            there = text.count("\n", 0, at) + 1
            raise Unmatched(f"new_text stands there already, in line {there}. {error}") from error
        raise


def occurrences(text: str, old: str) -> list[int]:
    """Where it stands, also where one begins within another."""
    found, at = [], text.find(old)
    while at >= 0:
        found.append(at)
        at = text.find(old, at + 1)
    return found


def several(text: str, found: Sequence[int]) -> str:
    numbers = [text.count("\n", 0, at) + 1 for at in found[:SHOWN]]
    return f"old_text stands {len(found)} times, in lines {listed(numbers)}."


def listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def marked(old: str, new: str) -> tuple[Marked, ...]:
    """What an edit keeps, takes away and brings, line by line."""
    before, after = [bare(line) for line in lines_of(old)], [bare(line) for line in lines_of(new)]
    found: list[Marked] = []
    for what, a, b, c, d in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if what == "equal":
            found += [(" ", line) for line in before[a:b]]
        else:
            found += [*(("-", line) for line in before[a:b]), *(("+", line) for line in after[c:d])]
    return tuple(found)


def apply(text: str, hunks: Sequence[Hunk]) -> str:
    """The text after these hunks, which stand in it one behind the other. Raises Unmatched."""
    lines, begin, moved = lines_of(text), 0, 0
    for number, hunk in enumerate(hunks, 1):
        try:
            at = place(lines, hunk, begin, moved)
            after = patched(lines, hunk, at)
        except Unmatched as error:
            raise Unmatched(f"Hunk {number} of {len(hunks)} does not fit. {error}") from error
        begin = at + len(hunk.old) + len(after) - len(lines)
        moved += len(after) - len(lines)
        lines = after
    return "".join(lines)


def place(lines: Sequence[str], hunk: Hunk, begin: int = 0, moved: int = 0, *, once: bool = False) -> int:
    """The index of the hunk's first line, behind `begin`; `moved` is by how much lines went down before it.

    Raises Unmatched.
    """
    start = heading(lines, hunk.after, begin) if hunk.after else begin
    if not hunk.old:
        return added(lines, hunk, start, moved)
    for level in LEVELS:
        found = [at for at in standing(lines, hunk.old, level) if at >= start]
        if hunk.last and found:
            found = [at for at in found if at + len(hunk.old) == len(lines)] or found
        if hunk.at is not None and found:
            wanted = hunk.at - 1 + moved
            nearest = min(abs(at - wanted) for at in found)
            found = [at for at in found if abs(at - wanted) == nearest]
        if hunk.after:  # the first one behind its heading is meant
            found = found[:1]
        if len(found) > 1:
            what = "old_text stands" if once else "Its lines stand"
            numbers = listed([at + 1 for at in found[:SHOWN]])
            raise Unmatched(
                f"{what} {len(found)} times, from lines {numbers}. Give more of the lines around it."
            )
        if found:
            return found[0]
    raise Unmatched(
        f"{'old_text' if once else 'What it replaces'} is not in the file. {nearest_to(lines, hunk.old)}"
    )


def heading(lines: Sequence[str], wanted: str, begin: int) -> int:
    """The index behind the line that a hunk names as one before it."""
    for level in LEVELS:
        for at in range(begin, len(lines)):
            if level(lines[at]) == level(wanted):
                return at + 1
    raise Unmatched(f"There is no line {wanted!r}. {nearest_to(lines, [wanted])}")


def added(lines: Sequence[str], hunk: Hunk, start: int, moved: int) -> int:
    """Where lines come that replace none: behind their heading, at their line, or at the end."""
    if hunk.after and not hunk.last:
        return start
    if hunk.at is None or hunk.last:
        return len(lines)
    return max(start, min(hunk.at + moved, len(lines)))  # diff -U0 names the line before


def standing(lines: Sequence[str], old: Sequence[str], level: Callable[[str], str]) -> list[int]:
    """Where all of the old lines stand, as a level compares them; blank lines alone only exactly."""
    keys, wanted = [level(line) for line in lines], [level(line) for line in old]
    if level is not bare and not any(wanted):
        return []
    size = len(wanted)
    starts = (at for at, key in enumerate(keys) if key == wanted[0] and keys[at : at + size] == wanted)
    return list(starts)


def patched(lines: Sequence[str], hunk: Hunk, at: int) -> list[str]:
    """The lines with the hunk applied at that index. Raises Unmatched when its indentation says nothing."""
    size = len(hunk.old)
    there = lines[at : at + size]
    indented = indentation(list(zip(hunk.old, there, strict=True)))
    if indented is None:
        raise Unmatched(f"It is indented otherwise in the file. {shown(lines, at, size)}")
    end = line_end(lines, at)
    fresh: list[str] = []
    rest = iter(there)
    for mark, line in hunk.lines:
        kept = "" if mark == "+" else next(rest)
        end = kept[len(bare(kept)) :] or end
        fresh += {" ": [kept], "-": [], "+": [indented(bare(line)) + end]}[mark]
    found = [*lines[:at], *fresh, *lines[at + size :]]
    return ended(lines, found, hunk, at_end=at + size >= len(lines), end=end)


def ended(before: Sequence[str], after: list[str], hunk: Hunk, *, at_end: bool, end: str) -> list[str]:
    """The lines with ends between all of them; the last one has one as the hunk says, or as it had."""
    if not after or not at_end:
        return after
    missing = bool(before) and not before[-1].endswith("\n") if hunk.open is None else hunk.open
    *others, last = (line if line.endswith("\n") else line + end for line in after)
    return [*others, bare(last) if missing else last]


def line_end(lines: Sequence[str], at: int) -> str:
    r"""What ends the lines there: \r\n where a file has both."""
    beside = [*lines[at : at + 1], *lines[max(at - 1, 0) : at]]
    ends = [line[len(bare(line)) :] for line in beside]
    return next(filter(None, ends), "\n")


def indentation(pairs: Sequence[tuple[str, str]]) -> Callable[[str], str] | None:
    """How to indent new lines, from lines as they were written and as the file has them; None: unclear."""
    both = {(indent(wrote), indent(there)) for wrote, there in pairs if wrote.strip()}
    if not both:
        return lambda line: line
    more = {there.removesuffix(wrote) for wrote, there in both if there.endswith(wrote)}
    if len(more) == 1 and all(there.endswith(wrote) for wrote, there in both):
        before = more.pop()
        return lambda line: before + line if line.strip() else line
    less = {wrote.removesuffix(there) for wrote, there in both if wrote.endswith(there)}
    if len(less) == 1 and all(wrote.endswith(there) for wrote, there in both):
        over = less.pop()
        return lambda line: line.removeprefix(over) if line.startswith(over) else line.lstrip()
    for size in TABS:
        if all(there.expandtabs(size) == wrote for wrote, there in both):
            return lambda line: tabbed(line, size)
        if all(wrote.expandtabs(size) == there for wrote, there in both):
            return lambda line: indent(line).expandtabs(size) + line.lstrip()
    return None


def indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def tabbed(line: str, size: int) -> str:
    blanks = indent(line).expandtabs(size)
    return "\t" * (len(blanks) // size) + " " * (len(blanks) % size) + line.lstrip()


def nearest_to(lines: Sequence[str], old: Sequence[str]) -> str:
    """The lines that have most in common with what was looked for, for whoever wrote it to choose from."""
    if not any(line.strip() for line in lines):
        return "The file is empty."
    hint = ""
    if all(NUMBERED.match(line) for line in old if line.strip()):
        hint = "Leave out the line numbers and the tab behind them. "
    wanted = set(WORD.findall("\n".join(NUMBERED.sub("", line, 1) if hint else line for line in old)))
    alike = [likeness(set(WORD.findall(line)), wanted) for line in lines]
    size = min(len(old), SHOWN)
    best, total, most = 0, sum(alike[:size]), sum(alike[:size])
    for at in range(1, len(lines) - size + 1):
        total += alike[at + size - 1] - alike[at - 1]
        if total > most + 1e-9:
            best, most = at, total
    return f"{hint}{shown(lines, best, size)}" if most > 0 else f"{hint}Read the file."


def likeness(words: set[str], wanted: set[str]) -> float:
    return len(words & wanted) / len(words | wanted) if words else 0.0


def shown(lines: Sequence[str], at: int, size: int) -> str:
    """Lines as the file has them, blanks and all, with their numbers."""
    begin, end = max(at - 1, 0), min(at + min(size, SHOWN) + 1, len(lines))
    rows = [f"{number + 1}\t{bare(lines[number])[:SHOWN_CHARS]}" for number in range(begin, end)]
    return "\n".join([f"What stands there, from line {begin + 1}:", *rows])
