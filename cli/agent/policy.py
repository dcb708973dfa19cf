"""Whether a call may run: a pure decision from the session's mode, the rules, and the call.

A rule is `allow`, `ask` or `deny` and a pattern: a tool, as `read_file` or `mcp__*`, and in brackets what
it is about.

    read_file(src/**)       a path: * ? [] within a name, ** for any folders; from the project's folder
                            (the session's, for other rules), ~ or /
    web_fetch(https://docs.python.org/**)  a request to the web: see cli/agent/urls.py
    run_command(git *)      a command, word for word: * within a word, and alone for any number of words;
                            see cli/agent/lines.py

Deny wins over ask, and ask over allow. What no rule is about may run when it only reads, and is asked for
when it changes something. A mode that only looks runs nothing that changes, whatever the rules say.

**Allow matches narrowly, deny and ask widely.** A line of a shell is allowed when each command in it is one
that a rule allows, or only reads; where it cannot be told what a line runs, it is asked for. A path is taken
with its links followed. What is denied is denied wherever in the line it stands, under whichever name a
path has, in upper or lower case, with all that lies below a folder; and a search of a whole folder is about
all that is in it.
Such patterns keep a model from mistakes: against one that hides what it does, only a sandbox helps.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property
from json import loads
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from cli.agent import lines, urls
from cli.agent.lines import Line
from cli.agent.wildcards import GLOB, folded, literal, same
from cli.agent.words import Simple
from cli.protocol.messages import ToolCall
from cli.protocol.permissions import ACTIONS, FORM, Action, RuleScope, parts
from cli.tools.table import Subject

# Modes in which nothing is changed.
LOOKING = {"plan", "review", "research"}
# A line of a shell may read what is kept from these.
READERS = ("read_file", "list_dir", "glob", "grep")
# Of a question, in characters.
SHOWN = 1000
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
    # Whether a command wants to reach out of the sandbox.
    leaves: bool = False

    @cached_property
    def line(self) -> Line:
        """What a command runs."""
        return Line.of(self.subject)

    @property
    def changes(self) -> bool:
        """Whether it may change something: a command may only read, where its tool need not."""
        return self.mutates and not (self.kind == "command" and self.line.reads)

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
    if call.changes and mode in LOOKING:
        return Decision("deny", None, f"In the mode {mode!r} nothing is changed, and {call.tool} does that.")
    for action in ACTIONS:
        if action == "allow" and call.leaves:
            return Decision("ask", None, f"{call.tool} wants the network, and leaves the sandbox for it.")
        for rule in rules:
            if rule.action == action and matches(rule, call):
                return Decision(action, rule, f"The {rule.scope}'s rule says: {rule.action} {rule.pattern}.")
        if action == "ask" and (found := possible(rules, call)):
            why = call.line.unknown or "a word of it is not written out"
            return Decision("ask", found, f"The rule may be about it: {found}. It cannot be told: {why}.")
    if call.kind == "command":
        return commanded(rules, call)
    if call.changes:
        return Decision("ask", None, f"{call.tool} changes something, and no rule is about it.")
    if call.kind == "url":
        return Decision("ask", None, f"{call.tool} asks the web, and no rule is about it.")
    return Decision("allow", None, f"{call.tool} only reads.")


def possible(rules: Sequence[Rule], call: Call) -> Rule | None:
    """The rule against a command which this one may be, as far as it can be told."""
    if call.kind != "command":
        return None
    against = ((rule, about) for rule, about in commands(rules, call) if rule.action != "allow")
    return next((rule for rule, about in against if lines.may_name(about, call.line)), None)


def commanded(rules: Sequence[Rule], call: Call) -> Decision:
    """Of a line of a shell that no rule is about as a whole."""
    if not call.changes:
        if found := guarding(rules, call):
            return Decision("ask", found, f"It may read what a rule is about: {found}.")
        return Decision("allow", None, f"{call.tool} only reads here.")
    allowed = [(rule, about) for rule, about in commands(rules, call) if rule.action == "allow"]
    if lines.allows([about for _, about in allowed], call.line):
        first = next(rule for rule, about in allowed if lines.used(about, call.line))
        return Decision("allow", first, "Rules allow each of its commands.")
    if call.line.unknown:
        return Decision("ask", None, f"What it runs cannot be told: {call.line.unknown}.")
    names = ", ".join(map(str, lines.left([about for _, about in allowed], call.line)))
    return Decision("ask", None, f"No rule is about: {names}."[:SHOWN])


def guarding(rules: Sequence[Rule], call: Call) -> Rule | None:
    """The rule against reading a path of which a line has the name."""
    words = [folded(word) for word in call.line.mentioned]
    for rule in rules:
        tool, about = parts(rule.pattern)
        if rule.action != "allow" and about and any(fnmatchcase(each, tool) for each in READERS):
            names = {
                folded(next((name for name in reversed(way) if name.strip("*")), "*")) for way in rule.ways
            }
            if any(fnmatchcase(word, name) for word in words for name in names):
                return rule
    return None


def explained(rules: Sequence[Rule], call: Call) -> list[tuple[str, str]]:
    """Each command of a line, and what lets it run; empty where nothing does."""
    allowing = [(rule, about) for rule, about in commands(rules, call) if rule.action == "allow"]
    changing = call.line.changing
    return [
        (str(simple), "only reads" if simple not in changing else lets(simple, allowing))
        for simple in call.line.found
    ]


def lets(simple: Simple, allowing: Sequence[tuple[Rule, str]]) -> str:
    return next((str(rule) for rule, about in allowing if lines.fits(lines.split(about), simple)), "")


def commands(rules: Sequence[Rule], call: Call) -> Iterator[tuple[Rule, str]]:
    """The rules about commands of this tool, and what they say of them."""
    for rule in rules:
        tool, about = parts(rule.pattern)
        if about is not None and fnmatchcase(call.tool, tool):
            yield rule, about


def matches(rule: Rule, call: Call) -> bool:
    tool, about = parts(rule.pattern)
    narrow = rule.action == "allow"
    if not fnmatchcase(call.tool, tool):
        return False
    if about is None:
        return True
    match call.kind:
        case "command":
            return lines.allows([about], call.line) if narrow else lines.names(about, call.line)
        case "path" | "tree":
            return allows_path(rule.ways, call) if narrow else names_path(rule.ways, call)
        case "url":
            return urls.allows(about, call.subject) if narrow else urls.names(about, call.subject)
    return not narrow  # what cannot be compared is not allowed


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
        leaves = bool(given.get("network"))
        return Call(call.name, mutates, kind, str(given.get("command", "")), leaves=leaves)
    if kind == "url":
        method = str(given.get("method", "GET"))
        said = urls.subject(method, str(given.get("url", "")))
        return Call(call.name, method not in urls.READING, kind, said)
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


def patterns(call: Call) -> list[str]:
    """What rules would say that allow this call from now on; empty where none could.

    For a line of a shell one for each command in it that is not allowed yet, and those like it.
    """
    if call.leaves:  # which is asked for each time
        return []
    if call.kind != "command":
        found = [each] if (each := exactly(call)) else []
    else:
        found = [f"{call.tool}({about})" for about in lines.patterns(call.line)]
    return found if all(map(FORM.fullmatch, found)) else []


def exactly(call: Call) -> str:
    """The pattern for this call and no other; empty where there is none that could allow it."""
    if call.others:  # it would take a rule for each
        return ""
    if not call.kind:
        return call.tool
    about = urls.pattern(call.subject) if call.kind == "url" else literal(call.subject)
    if call.kind == "url" and not urls.allows(about, call.subject):
        return ""
    found = f"{call.tool}({about})"
    return found if FORM.fullmatch(found) else ""
