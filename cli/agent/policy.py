"""Whether a call may run: a pure decision from the session's mode, the rules, and the call.

A rule is `allow`, `ask` or `deny` and a pattern: a tool, as `read_file` or `mcp__*`, and in brackets what
it is about.

    read_file(src/**)       a path: * ? [] within a name, ** for any folders; from the project's folder
                            (the session's, for other rules), ~ or /
    run_command(git *)      a command, word for word: * within a word, and alone for any number of words

Deny wins over ask, and ask over allow. What no rule is about may run when it only reads, and is asked for
when it changes something. A mode that only looks runs nothing that changes, whatever the rules say.

**Allow matches narrowly, deny and ask widely.** A command is allowed only as one plain command: nothing in
it that a shell would act on (`;`, `|`, `$(…)`, a redirection, a line's end). A path is taken with its links
followed. What is denied is denied wherever in the line it stands, under whichever name a path has, in upper
or lower case, with all that lies below a folder; and a search of a whole folder is about all that is in it.
Such patterns keep a model from mistakes: against one that hides what it does, only a sandbox helps.
"""

import os
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from json import loads
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from unicodedata import normalize

from cli.protocol.messages import ToolCall
from cli.protocol.permissions import ACTIONS, FORM, Action, RuleScope, parts
from cli.tools.table import Subject

# Modes in which nothing is changed.
LOOKING = {"plan", "review", "research"}
# What a shell acts on, wherever it stands: within quotes some of it still means something.
ACTIVE = re.compile(r"[;&|<>$`(){}\\\x00-\x08\x0a-\x1f\x7f]")
BETWEEN = re.compile(r"[;&|<>$`(){}\\\"'\s]+")
GLOB = re.compile(r"[*?\[]")

Way = tuple[str, ...]


@dataclass(frozen=True)
class Rule:
    """`ways` are the path that it is about, by its parts: as it is written, and with links followed."""

    action: Action
    pattern: str
    scope: RuleScope
    where: str
    ways: tuple[Way, ...] = ()

    def __str__(self) -> str:
        return f"{self.action} {self.pattern} ({self.scope})"


@dataclass(frozen=True)
class Call:
    """A call as rules see it. `subject` is a command, or a path from the root with its links followed;
    `written` that path as the model wrote it. `others` are further paths, as the same two."""

    tool: str
    mutates: bool
    kind: Subject = ""
    subject: str = ""
    written: str = ""
    others: tuple[tuple[str, str], ...] = ()

    def each(self) -> Iterator["Call"]:
        """The call for each of its paths alone."""
        alone = replace(self, others=())
        yield alone
        for subject, written in self.others:
            yield replace(alone, subject=subject, written=written)


class Decision(NamedTuple):
    """`rule` is the one that decided, where one did; `reason` says why in a sentence."""

    action: Action
    rule: Rule | None
    reason: str


def decide(mode: str, rules: Sequence[Rule], call: Call) -> Decision:
    """Of a call about several paths, what is decided of the one that may least."""
    found = (decided(mode, rules, each) for each in call.each())
    return min(found, key=lambda decision: ACTIONS.index(decision.action))


def decided(mode: str, rules: Sequence[Rule], call: Call) -> Decision:
    if call.mutates and mode in LOOKING:
        return Decision("deny", None, f"In the mode {mode!r} nothing is changed, and {call.tool} does that.")
    for action in ACTIONS:
        for rule in rules:
            if rule.action == action and matches(rule, call):
                return Decision(action, rule, f"The {rule.scope}'s rule says: {rule.action} {rule.pattern}.")
    if call.mutates:
        return Decision("ask", None, f"{call.tool} changes something, and no rule is about it.")
    return Decision("allow", None, f"{call.tool} only reads.")


def matches(rule: Rule, call: Call) -> bool:
    tool, about = parts(rule.pattern)
    narrow = rule.action == "allow"
    if not fnmatchcase(call.tool, tool):
        return False
    if about is None:
        return True
    match call.kind:
        case "command":
            return allows_command(about, call.subject) if narrow else names_command(about, call.subject)
        case "path" | "tree":
            return allows_path(rule.ways, call) if narrow else names_path(rule.ways, call)
    return not narrow  # what cannot be compared is not allowed


def allows_command(about: str, line: str) -> bool:
    """Whether the line is one plain command, and one that the pattern names."""
    if ACTIVE.search(line):
        return False
    try:
        return same(shlex.split(line), shlex.split(about), "*")
    except ValueError:  # a quote without its end
        return False


def names_command(about: str, line: str) -> bool:
    """Whether such a command stands anywhere in the line, in quotes or behind another one as well."""
    try:
        wanted = shlex.split(folded(about))
    except ValueError:
        wanted = folded(about).split()
    return any(same(words, ["*", *wanted, "*"], "*", alike=is_program) for words in readings(folded(line)))


def readings(line: str) -> Iterator[list[str]]:
    """The words of a line, in the two ways that they can be taken: with quotes and without."""
    yield BETWEEN.sub(" ", line).split()
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    with suppress(ValueError):  # a quote without its end
        yield list(lexer)


def is_program(word: str, wanted: str) -> bool:
    """A program is meant wherever it lies."""
    return fnmatchcase(word, wanted) or fnmatchcase(word.rpartition("/")[2], wanted)


def allows_path(ways: Sequence[Way], call: Call) -> bool:
    """Whether the path is one that the pattern names, both with their links followed."""
    return bool(ways) and same(split(call.subject), ways[-1], "**")


def names_path(ways: Sequence[Way], call: Call) -> bool:
    """Whether the pattern names the path, a folder above it, or something below where all below is meant."""
    paths = [split(path) for path in {folded(call.subject), folded(call.written)}]
    for way in {tuple(map(folded, way)) for way in ways}:
        for names in paths:
            if same(names, [*way, "**"], "**") or (call.kind == "tree" and reaches(names, way)):
                return True
    return False


def reaches(names: Sequence[str], way: Way) -> bool:
    """Whether something below a folder may fit."""
    for name, part in zip(names, way, strict=False):
        if part == "**":
            return True
        if not fnmatchcase(name, part):
            return False
    return len(way) > len(names)


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


def split(path: str) -> list[str]:
    return list(PurePosixPath(path).parts[1:])


def rule(action: Action, pattern: str, scope: RuleScope, where: str, base: Path) -> Rule:
    """A rule, with its path from the root; `base` is where a path begins that says nothing else.

    Looks at the disk for links. Raises ValueError for what is no pattern.
    """
    about = parts(pattern).about
    if about is None:
        return Rule(action, pattern, scope, where)
    path = os.path.normpath(os.path.join(base, os.path.expanduser(about)))
    names = split(path)
    fixed = next((place for place, name in enumerate(names) if GLOB.search(name)), len(names))
    real = split(os.path.realpath("/" + "/".join(names[:fixed])))
    return Rule(action, pattern, scope, where, (tuple(names), (*real, *names[fixed:])))


def call_of(call: ToolCall, tool: Any, cwd: Path) -> Call:
    """A call as rules see it: `tool` says by `subject` what it is about. Looks at the disk for links."""
    kind: Subject = getattr(tool, "subject", "")
    mutates, given = bool(getattr(tool, "mutates", True)), loads(call.arguments or "{}")
    if kind == "command":
        return Call(call.name, mutates, kind, str(given.get("command", "")))
    if not kind:
        return Call(call.name, mutates)
    names = tool.paths(given) if hasattr(tool, "paths") else [str(given.get("path", "."))]
    if not names:  # a patch that cannot be read
        return Call(call.name, mutates, kind)
    first, *others = [both(cwd, name) for name in names]
    return Call(call.name, mutates, kind, *first, tuple(others))


def both(cwd: Path, name: str) -> tuple[str, str]:
    """A path with its links followed, and as it is written: `link/..` is not where the link stands."""
    path = os.path.join(cwd, os.path.expanduser(name.partition("\0")[0]))  # no tool can open what has a NUL
    return os.path.realpath(path), os.path.normpath(path)


def exactly(call: Call) -> str:
    """The pattern for this call and no other; empty where there is none that could allow it."""
    if call.others:  # it would take a rule for each
        return ""
    if not call.kind:
        return call.tool
    if call.kind != "command":
        about = literal(call.subject)
    elif allows_command("*", call.subject):
        about = shlex.join(map(literal, shlex.split(call.subject)))
    else:
        return ""
    found = f"{call.tool}({about})"
    return found if FORM.fullmatch(found) else ""


def literal(text: str) -> str:
    """The glob that is `text` and nothing else."""
    return GLOB.sub(lambda found: f"[{found[0]}]", text)
