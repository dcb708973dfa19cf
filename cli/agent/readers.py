"""Which commands only read: programs that write nothing, and of others the words with which they do not."""

import re
from collections.abc import Callable, Sequence

from cli.agent.bash import commands
from cli.agent.words import Simple, Unknown, Word

# Whatever they are given, they write to their output alone.
PLAIN = {
    *("ls", "cat", "head", "tail", "wc", "grep", "egrep", "fgrep", "zcat", "pwd", "echo", "true"),
    *("false", ":", "cd", "basename", "dirname", "realpath", "readlink", "stat", "cut", "tr", "nl"),
    *("tac", "rev", "od", "comm", "join", "paste", "fold", "fmt", "expand", "unexpand", "column"),
    *("diff", "cmp", "strings", "hexdump", "nm", "size", "jq", "md5sum", "sha1sum", "sha256sum"),
    *("sha512sum", "cksum", "du", "df", "id", "whoami", "groups", "uname", "arch", "nproc", "uptime"),
    *("tty", "locale", "lscpu", "lsblk", "ps", "pgrep", "free", "which", "type", "seq", "sleep"),
    *("break", "continue", "exit", "return", "wait"),
}
# The options with which these write or run something: letters, then names.
WRITING: dict[str, tuple[str, tuple[str, ...]]] = {
    "sort": ("oT", ("--output", "--compress-program", "--temporary-directory")),
    "tree": ("oR", ("--output",)),
    "rg": ("", ("--pre", "--hostname-bin")),
    "fd": ("xXl", ("--exec", "--exec-batch", "--list-details")),
    "file": ("C", ("--compile",)),
    "date": ("s", ("--set",)),
    "printf": ("v", ()),
    "test": ("vR", ()),
}
FIND_WRITES = ("-delete", "-fprint", "-fls")
# As an answer to `command -v`, or of its own.
ASKED_OF = {
    *("python", "python3", "pip", "pip3", "node", "npm", "go", "cargo", "rustc", "gcc", "g++"),
    *("clang", "make", "cmake", "git", "java", "ruby", "uv"),
}
GIT_READS = {
    *("status", "log", "show", "diff", "blame", "annotate", "shortlog", "describe", "rev-parse"),
    *("ls-files", "ls-tree", "cat-file", "rev-list", "merge-base", "name-rev", "grep", "whatchanged"),
    *("count-objects", "for-each-ref", "show-ref", "diff-tree", "diff-index", "diff-files", "cherry"),
    *("range-diff", "check-ignore", "check-attr", "version"),
}
GIT_WRITES = ("--output", "--ext-diff", "--textconv", "--filters", "--open-files-in-pager", "--exec")
# Of these, the words with which they only list.
GIT_LISTS = {
    "branch": r"-(a|r|v|vv|l|av|avv)|--(list|all|remotes|verbose|show-current|no-color)|--(sort|format)=.*",
    "tag": r"-l|-n\d*|--list|--sort=.*|--format=.*",
    "remote": r"-v|--verbose|get-url|show|-n|origin|upstream",
    "stash": r"list|show|-p|stash@\{\d+\}|--stat",
    "worktree": r"list|--porcelain|-v",
    "reflog": r"show|HEAD|-n|\d+|-\d+|--oneline",
    "config": r"-l|--list|--get|--get-all|--show-origin|--show-scope|--local|--global|[a-z]+\.[A-Za-z.-]+",
}
SED_SCRIPT = re.compile(
    r"((\d+|\$)(,(\d+|\$))?)?[pdq=](;((\d+|\$)(,(\d+|\$))?)?[pdq=])*;?"
    r"|s(?P<edge>[/|,#])((?!(?P=edge))[^\n])*(?P=edge)((?!(?P=edge))[^\n])*(?P=edge)[gpI0-9]*"
)
AWK_ACTS = re.compile(r"[>|@`]|system|getline|ENVIRON|close|fflush")
# Variables that change how later commands run have upper-case names.
HARMLESS = re.compile(r"[a-z_][a-z0-9_]*|LC_[A-Z]+|LANG|TZ|COLUMNS|NO_COLOR|FORCE_COLOR|CI")
# What is asked for even to be read.
SECRET = re.compile(
    r"(^|[/=:@])(\.env(\.[^/]*)?|\.ssh|\.gnupg|\.aws|\.kube|\.netrc|\.pgpass|\.git-credentials|keyrings?|environ"
    r"|id_(rsa|dsa|ecdsa|ed25519)[^/]*)(/|$)"
)
# bash makes a connection of these.
SOCKETS = ("/dev/tcp", "/dev/udp")
SAFE_WRITES = {"/dev/null", "/dev/stdout", "/dev/stderr", "/dev/fd/63"}


def reads_only(line: str) -> bool:
    """Whether all that a line runs only reads. False also where that cannot be told."""
    try:
        return not changing(commands(line))
    except Unknown:
        return False


def changing(found: Sequence[Simple]) -> list[Simple]:
    """Those that may do more than read. In another folder git may find settings that name programs."""
    moved = any(simple.program == "cd" for simple in found)
    return [simple for simple in found if not reads(simple) or (moved and simple.program == "git")]


def reads(simple: Simple) -> bool:
    """Whether a simple command, for itself, only reads."""
    if not contained(simple) or any(SECRET.search(word.text) for word in (*simple.words, *simple.reads)):
        return False
    if not simple.words or simple.wraps:
        return True
    return simple.standard and (simple.program in PLAIN or fits(simple.program, simple.words[1:]))


def contained(simple: Simple) -> bool:
    """Whether a command neither writes a file by redirection nor changes how other commands run."""
    if not all(HARMLESS.fullmatch(name) and not name.endswith("_proxy") for name in simple.sets):
        return False
    if not all(word.kind != "unknown" and word.text in SAFE_WRITES for word in simple.writes):
        return False
    return not any(
        word.kind == "unknown" or word.text.startswith(("/dev/tcp", "/dev/udp")) for word in simple.reads
    )


def fits(program: str, words: Sequence[Word]) -> bool:
    """Whether a program only reads when it is given these words."""
    if any(word.optional for word in words):
        return False
    said = [word.text for word in words]
    if program in ASKED_OF and said in (["--version"], ["-V"], ["-v"], ["version"]):
        return program != "python" or said != ["-v"]
    if program in WRITING:
        return not any(writes(word, *WRITING[program]) for word in said)
    return program in READERS and READERS[program](said)


def writes(word: str, letters: str, names: Sequence[str]) -> bool:
    """Whether a word is such an option, also a short form of its name, or among other letters."""
    if word.startswith("--"):
        name = word.partition("=")[0]
        return len(name) > 2 and any(each.startswith(name) or name.startswith(each) for each in names)
    return word.startswith("-") and bool(set(word[1:]) & set(letters))


def git(said: Sequence[str]) -> bool:
    if not said or said[0].startswith("-"):
        return list(said) in ([], ["--version"], ["--help"])
    name, rest = said[0], said[1:]
    if any(writes(word, "O" if name == "grep" else "", GIT_WRITES) for word in rest):
        return False
    if name in GIT_LISTS:
        return lists(name, rest)
    return name in GIT_READS


def lists(name: str, rest: Sequence[str]) -> bool:
    if name in ("stash", "worktree") and not rest:
        return name == "worktree"
    if name == "config" and not any(word in ("-l", "--list", "--get", "--get-all") for word in rest):
        return False
    return all(re.fullmatch(GIT_LISTS[name], word) for word in rest)


def sed(said: Sequence[str]) -> bool:
    """Lines printed or left out, or a text replaced; `w`, `e` and `-i` write and run."""
    options = [word for word in said if word.startswith("-") and word != "-"]
    scripts = [word for word in said if word not in options]
    allowed = {"-n", "-E", "-r", "-s", "-z", "-u", "-nE", "-En", "-nr", "--quiet", "--silent"}
    return set(options) <= allowed and bool(scripts) and SED_SCRIPT.fullmatch(scripts[0]) is not None


def awk(said: Sequence[str]) -> bool:
    rest = list(said)
    while rest and rest[0].startswith("-F"):
        del rest[: 2 if rest[0] == "-F" else 1]
    return (
        bool(rest)
        and not rest[0].startswith("-")
        and not AWK_ACTS.search(rest[0])
        and not any(word.startswith("-") for word in rest[1:])
    )


def find(said: Sequence[str]) -> bool:
    return not any(word.startswith(FIND_WRITES) for word in said)


def only_options(said: Sequence[str]) -> bool:
    """A second name that uniq is given is where it writes."""
    return all(word.startswith("-") for word in said)


def switches(said: Sequence[str]) -> bool:
    return all(re.fullmatch(r"[-+][eux]+|[-+]e?u?x?o|pipefail|errexit|nounset|xtrace", word) for word in said)


def looks_up(said: Sequence[str]) -> bool:
    return said[:1] in (["-v"], ["-V"])


READERS: dict[str, Callable[[Sequence[str]], bool]] = {
    "git": git,
    "sed": sed,
    "awk": awk,
    "gawk": awk,
    "mawk": awk,
    "find": find,
    "uniq": only_options,
    "hostname": only_options,
    "set": switches,
    "command": looks_up,
    "export": lambda said: True,
}
