"""Commands as rules are about them: every simple command that a line runs.

Allow matches narrowly: each of them is named by a rule or only reads, with words that are known, and no
file is written by redirection. Deny and ask match widely: one of them, or the words anywhere in the line, in
quotes or behind others, in upper or lower case.
"""

import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Self

from cli.agent.bash import commands
from cli.agent.readers import GIT_READS, changing, contained
from cli.agent.wildcards import folded, literal, same
from cli.agent.words import Simple, Unknown, Word
from cli.agent.wrappers import FORMS, SPECIAL

BETWEEN = re.compile(r"[;&|<>$`(){}\\\"'\s]+")
# What these do depends on every word: a rule that is offered for one is about this very command.
EXACTLY = {
    *("rm", "rmdir", "mv", "cp", "ln", "dd", "tee", "install", "truncate", "shred", "unlink", "rsync", "tar"),
    *(
        "chmod",
        "chown",
        "chgrp",
        "chattr",
        "setfacl",
        "kill",
        "pkill",
        "killall",
        "sed",
        "awk",
        "gawk",
        "xxd",
    ),
    *("mkfs", "fdisk", "parted", "mount", "umount", "losetup", "swapoff", "shutdown", "reboot", "systemctl"),
    *("curl", "wget", "ssh", "scp", "sftp", "nc", "ncat", "socat", "telnet", "ftp", "iptables", "crontab"),
    *(
        "python",
        "python3",
        "node",
        "deno",
        "bun",
        "perl",
        "ruby",
        "php",
        "lua",
        "osascript",
        "Rscript",
        "tclsh",
    ),
    *(
        "npx",
        "pipx",
        "uvx",
        "uv",
        "pip",
        "pip3",
        "npm",
        "pnpm",
        "yarn",
        "gem",
        "apt",
        "apt-get",
        "brew",
        "dnf",
    ),
    *("docker", "podman", "kubectl", "helm", "terraform", "aws", "gcloud", "az", "gh", "make", "vim", "vi"),
    *("strace", "ltrace", "gdb", "unshare", "nsenter", "setpriv", "source", ".", "exec", "export", "unset"),
    *FORMS,
    *SPECIAL,
}
# And of these by the words that come first.
BEGINNINGS = {
    *(("git", name) for name in GIT_READS),
    *(("git", name) for name in ("add", "commit", "mv", "switch", "merge", "cherry-pick", "revert")),
    *(("npm", "test"), ("npm", "run", "*"), ("pnpm", "test"), ("pnpm", "run", "*"), ("yarn", "run", "*")),
    *(("cargo", name) for name in ("build", "check", "clippy", "fmt", "test")),
    *(("go", name) for name in ("build", "fmt", "test", "vet")),
    *(("uv", "run", name) for name in ("pytest", "ruff", "mypy")),
    *(
        (python, "-m", name)
        for python in ("python", "python3")
        for name in ("pytest", "ruff", "mypy", "unittest")
    ),
}
FIRST = {beginning[0] for beginning in BEGINNINGS}


@dataclass(frozen=True)
class Line:
    """A line with what it runs; `unknown` says why that cannot be told, where it cannot."""

    text: str
    found: tuple[Simple, ...] = ()
    unknown: str = ""

    @classmethod
    def of(cls, text: str) -> Self:
        try:
            return cls(text, tuple(commands(text)))
        except Unknown as unknown:
            return cls(text, unknown=str(unknown))

    @property
    def changing(self) -> list[Simple]:
        """The commands in it that may do more than read."""
        return changing(self.found)

    @property
    def mentioned(self) -> set[str]:
        """The names in all its words: a path's each for itself."""
        words = (word for simple in self.found for word in (*simple.words, *simple.reads))
        return {name for word in words for name in word.text.split("/")}

    @property
    def reads(self) -> bool:
        return not self.unknown and not self.changing


def allows(abouts: Sequence[str], line: Line) -> bool:
    """Whether each command of the line only reads, or is one that a pattern names."""
    if line.unknown or not any(used(about, line) for about in abouts):
        return False
    return not left(abouts, line)


def left(abouts: Sequence[str], line: Line) -> list[Simple]:
    """The commands that may do more than read, and that no pattern names."""
    wanted = [words for about in abouts if (words := split(about))]
    return [simple for simple in line.changing if not any(fits(words, simple) for words in wanted)]


def used(about: str, line: Line) -> bool:
    """Whether a pattern names a command of the line."""
    words = split(about)
    return bool(words) and any(fits(words, simple) for simple in line.found)


def fits(wanted: Sequence[str], simple: Simple) -> bool:
    known = bool(simple.words) and all(word.kind != "unknown" for word in simple.words)
    return known and contained(simple) and same(simple.texts, wanted, "*")


def names(about: str, line: Line) -> bool:
    """Whether such a command is run, or stands anywhere in the line."""
    wanted = split(folded(about)) or folded(about).split()
    anywhere = ["*", *wanted, "*"]
    if any(same(words, anywhere, "*", alike=is_program) for words in readings(folded(line.text))):
        return True
    ran = ([folded(text) for text in simple.texts] for simple in line.found)
    return any(same(words, [*wanted, "*"], "*", alike=is_program) for words in ran)


def may_name(about: str, line: Line) -> bool:
    """Whether it cannot be told that no such command is run."""
    wanted = split(folded(about)) or folded(about).split()
    return bool(line.unknown) or any(may_be(simple.words, wanted) for simple in line.found)


def may_be(words: Sequence[Word], wanted: Sequence[str]) -> bool:
    for word, want in zip(words, wanted, strict=False):
        if want == "*" or word.kind != "literal":
            return any(each.kind != "literal" for each in words)
        if not is_program(folded(word.text), want):
            return False
    return False


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


def split(about: str) -> list[str]:
    """A pattern's words; none where it has a quote without its end."""
    try:
        return shlex.split(about)
    except ValueError:
        return []


def patterns(line: Line) -> list[str]:
    """What rules would say that allow this line from now on; none where no rule can."""
    found = [] if line.unknown else list(dict.fromkeys(map(pattern, line.changing)))
    return found if allows(found, line) else []


def pattern(simple: Simple) -> str:
    """A program with any words, or one that could do harm with just these."""
    texts, program = simple.texts, simple.program
    beginning = next((each for each in BEGINNINGS if begins(texts, each)), None)
    if beginning:
        return f"{shlex.join(map(literal, texts[: len(beginning)]))} *"
    if program in EXACTLY or program in FIRST or program.startswith("mkfs") or not simple.standard:
        return shlex.join(map(literal, texts))
    return f"{shlex.quote(literal(texts[0]))} *" if texts else ""


def begins(texts: Sequence[str], beginning: Sequence[str]) -> bool:
    if len(texts) < len(beginning):
        return False
    pairs = zip(texts, beginning, strict=False)
    return all(text == want or (want == "*" and not text.startswith("-")) for text, want in pairs)
