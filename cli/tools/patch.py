"""Patches as text: unified diffs, and the form that begins with `*** Begin Patch` (OpenAI's apply_patch)."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from cli.tools.edit import Hunk, Marked

BEGIN, END = "*** Begin Patch", "*** End Patch"
HEADER = re.compile(r"\*\*\* (Add|Update|Delete) File: (.+)")
MOVE, LAST = "*** Move to: ", "*** End of File"
RANGE = re.compile(r"@@+ -(\d+)(?:,(\d+))? \+\d+(?:,\d+)? @@")
NOWHERE = "/dev/null"
FORM = (
    "Write a unified diff, or\n*** Begin Patch\n*** Update File: path\n@@\n unchanged line\n-old line\n"
    "+new line\n*** End Patch"
)
# What git may say of a file beside its lines, and what this does not do.
NOT_DONE = re.compile(
    r"(old mode|new mode|copy from|GIT binary patch|Binary files|(?:new|deleted) file mode 1[26])"
)

What = Literal["add", "update", "delete"]


class BadPatch(ValueError):
    """A text that is no patch."""


@dataclass
class FilePatch:
    """What happens to one file; `to` is its new name, where it gets one."""

    what: What
    path: str
    to: str = ""
    hunks: list[Hunk] = field(default_factory=list)

    @property
    def text(self) -> str:
        """What an added file holds."""
        lines = [line for hunk in self.hunks for mark, line in hunk.lines if mark == "+"]
        text = "".join(f"{line}\n" for line in lines)
        return text.removesuffix("\n") if self.hunks and self.hunks[-1].open else text


def parsed(text: str) -> list[FilePatch]:
    """Raises BadPatch."""
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    begins = next((at for at, line in enumerate(lines) if line.strip() == BEGIN), None)
    if begins is None and any(HEADER.match(line) for line in lines):
        begins = -1
    found = list(unified(lines) if begins is None else enveloped(lines[begins + 1 :]))
    if not found:
        raise BadPatch(f"There is no file in this patch. {FORM}")
    return found


def paths(text: str) -> list[str]:
    """Every path that a patch is about; none when it cannot be read."""
    try:
        found = parsed(text)
    except BadPatch:
        return []
    return list(dict.fromkeys(path for each in found for path in (each.path, each.to) if path))


def enveloped(lines: Sequence[str]) -> Iterator[FilePatch]:
    at = 0
    while at < len(lines) and lines[at].strip() != END:
        header = HEADER.match(lines[at])
        if not header:
            if lines[at].strip() and not lines[at].startswith("```"):
                raise BadPatch(f"Line {at + 2} belongs to no file: {lines[at]!r}. {FORM}")
            at += 1
            continue
        end = next(
            (n for n in range(at + 1, len(lines)) if HEADER.match(lines[n]) or lines[n].strip() == END),
            len(lines),
        )
        yield section(header[1].lower(), header[2].strip(), lines[at + 1 : end])
        at = end


def section(what: str, path: str, lines: Sequence[str]) -> FilePatch:
    """One file of a `*** Begin Patch`."""
    if what == "delete":
        return FilePatch("delete", path)
    if what == "add":
        added = tuple(("+", line.removeprefix("+")) for line in without_blank_end(lines))
        return FilePatch("add", path, hunks=[Hunk(added)])
    to = ""
    if lines and lines[0].startswith(MOVE):
        to, lines = lines[0].removeprefix(MOVE).strip(), lines[1:]
    found = FilePatch("update", path, to, [*hunks(lines, path)])
    if not found.hunks and not to:
        raise BadPatch(f"The patch says nothing about the lines of {path}. {FORM}")
    return found


def hunks(lines: Sequence[str], path: str) -> Iterator[Hunk]:
    """Those of an updated file, each behind its @@; the first one may do without."""
    parts: list[tuple[str, list[str]]] = []
    for line in lines:
        if line.startswith("@@"):
            parts.append((line, []))
        else:
            parts = parts or [("@@", [])]
            parts[-1][1].append(line)
    for head, body in parts:
        last = LAST in body
        body = without_blank_end([line for line in body if line != LAST])
        if body:
            numbers = RANGE.match(head)
            after = "" if numbers else head.lstrip("@").strip().removesuffix("@@").strip(" \t.…")
            at = int(numbers[1]) if numbers else None
            yield Hunk(tuple(marks(body, path)), at, after, last, opened(body))


def marks(body: Sequence[str], path: str) -> Iterator[Marked]:
    for line in body:
        if line[:1] not in (" ", "+", "-", "\\", ""):
            raise BadPatch(f"A line of {path} begins with none of space, + and -: {line!r}. {FORM}")
        if not line.startswith("\\"):
            yield line[:1] or " ", line[1:]


def opened(body: Sequence[str]) -> bool | None:
    r"""Whether the new last line has no end, by `\ No newline at end of file`; None without such a line."""
    signs = [body[at - 1][:1] for at, line in enumerate(body) if at and line.startswith("\\")]
    return any(sign != "-" for sign in signs) if signs else None


def without_blank_end(lines: Sequence[str]) -> list[str]:
    """Empty lines behind a part belong to none: what is kept or changed has its mark."""
    found = list(lines)
    while found and (not found[-1] or found[-1].startswith("```")):
        found.pop()
    return found


def unified(lines: Sequence[str]) -> Iterator[FilePatch]:
    """The files of a unified diff, as diff and git write it."""
    starts = [at for at in range(len(lines)) if begins_file(lines, at)]
    for at, end in pairwise([*starts, len(lines)]):
        if found := one_file(lines[at:end]):
            yield found


def begins_file(lines: Sequence[str], at: int) -> bool:
    """Whether a file's head begins here: git's own line, or --- and +++ without one before them."""
    if lines[at].startswith("diff --git "):
        return True
    if not names_both(lines, at):
        return False
    # Between git's line and these there is nothing but what git says of the file.
    before = at - 1
    while before >= 0 and re.match(
        r"index |similarity |dissimilarity |rename |old mode|new |deleted ", lines[before]
    ):
        before -= 1
    return before < 0 or not lines[before].startswith("diff --git ")


def names_both(lines: Sequence[str], at: int) -> bool:
    """--- and +++ and then @@: no lines taken away and added look so."""
    return (
        lines[at].startswith("--- ")
        and at + 2 < len(lines)
        and lines[at + 1].startswith("+++ ")
        and lines[at + 2].startswith("@@")
    )


def one_file(lines: Sequence[str]) -> FilePatch | None:
    head = next((at for at, line in enumerate(lines) if line.startswith("@@")), len(lines))
    said, old, new = lines[:head], "", ""
    for line in said:
        if NOT_DONE.match(line):
            raise BadPatch(f"This is not done by a patch here: {line!r}.")
    renamed = [
        line.partition(" from ")[2] or line.partition(" to ")[2]
        for line in said
        if line.startswith("rename ")
    ]
    if names_both([*lines, ""], max(head - 2, 0)):
        old, new = (named(line[4:]) for line in lines[head - 2 : head])
    elif lines[0].startswith("diff --git ") and not renamed:
        old, new = of_git(lines[0])
        old = NOWHERE if any(line.startswith("new file") for line in said) else old
        new = NOWHERE if any(line.startswith("deleted file") for line in said) else new
        if NOWHERE not in (old, new):
            raise BadPatch(f"The patch says nothing about the lines of {new}. {FORM}")
    old, new = [named(name) for name in renamed] if len(renamed) == 2 else stripped(old, new)
    found = [*hunks(lines[head:], new)]
    if old == NOWHERE:
        return FilePatch("add", new, hunks=found)
    if new == NOWHERE:
        return FilePatch("delete", old, hunks=found)
    return FilePatch("update", old, new if new != old else "", found)


def named(text: str) -> str:
    """A name without the time behind it, and without git's quotes and octal bytes."""
    name = text.partition("\t")[0].strip()
    if len(name) > 1 and name[0] == name[-1] == '"':
        octal = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8) & 255), name[1:-1])
        name = (
            octal.replace('\\"', '"')
            .replace("\\\\", "\\")
            .encode("latin-1", "replace")
            .decode(errors="replace")
        )
    return name


def of_git(line: str) -> tuple[str, str]:
    """Both names of `diff --git a/x b/x`, which are the same."""
    old, _, new = line.removeprefix("diff --git ").partition(" b/")
    return named(old), f"b/{new}"


def stripped(old: str, new: str) -> tuple[str, str]:
    """Without the a/ and b/ that git puts before names."""
    if (old == NOWHERE or old.startswith("a/")) and (new == NOWHERE or new.startswith("b/")):
        return old.removeprefix("a/"), new.removeprefix("b/")
    return old, new
