"""Programs that run the command which they are given: where in their words it begins."""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from cli.agent.words import ANYTHING, Unknown, Word

ASSIGNED = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)\+?=.*", re.DOTALL)
SHELLS = {"sh", "bash", "dash", "ksh", "ash"}
# Their lines are none of bash, or come to them from elsewhere.
FOREIGN = {"zsh", "fish", "csh", "tcsh", "parallel", "script", "pwsh", "powershell", "cmd", "at", "batch"}
# They change what a name means afterwards.
RENAMING = {"alias", "unalias", "enable", "shopt", "hash"}
# A pager or an editor that git starts; an alias may hide any command.
HARMLESS_CONFIG = re.compile(r"(color\.|user\.|core\.quotepath|advice\.|log\.|init\.defaultbranch)", re.I)
GIT_VALUED = {"-C", "--git-dir", "--work-tree", "--namespace"}


class Inner(NamedTuple):
    """What is run within: words as they stand, or a script. `plain`: the wrapper itself does nothing else."""

    words: Sequence[Word] = ()
    script: str | None = None
    sets: tuple[str, ...] = ()
    plain: bool = True


class Form(NamedTuple):
    """A wrapper's options: those that take a value, those alone, and the operands before the command."""

    valued: str = ""
    alone: str = ""
    operands: int = 0
    plain: bool = True
    long_valued: tuple[str, ...] = ()
    long_alone: tuple[str, ...] = ()


FORMS = {
    "nohup": Form(),
    "builtin": Form(),
    "coproc": Form(),
    "busybox": Form(),
    "toybox": Form(),
    "time": Form(alone="p"),
    "command": Form(alone="p"),
    "exec": Form("a", "cl"),
    "nice": Form("n", "0123456789", long_valued=("adjustment",)),
    "ionice": Form("cnpPu", "t", long_valued=("class", "classdata")),
    "setsid": Form("", "cfw", long_alone=("ctty", "fork", "wait")),
    "stdbuf": Form("ioe", long_valued=("input", "output", "error")),
    "timeout": Form(
        "ks", "fpv", 1, True, ("kill-after", "signal"), ("foreground", "preserve-status", "verbose")
    ),
    "env": Form("u", "i0v", 0, True, ("unset", "chdir"), ("ignore-environment", "null", "debug")),
    "sudo": Form("ughpCrtTUDR", "AbEHiknPsSv", 0, False, ("user", "group"), ("non-interactive", "login")),
    "doas": Form("u", "n", 0, False),
    "chroot": Form(operands=1, plain=False),
    "flock": Form("wE", "snxoFe", 1, False),
    "xargs": Form(
        "InLPdsEa", "0rtpxo", 0, True, ("max-args", "max-procs", "delimiter"), ("null", "no-run-if-empty")
    ),
}


def inner(words: Sequence[Word]) -> list[Inner]:
    """What a command runs besides itself. Raises Unknown."""
    name = words[0].text.rpartition("/")[2]
    if name in FOREIGN or name in RENAMING:
        raise Unknown(f"{name} can run or rename anything")
    if special := SPECIAL.get(name):
        return special(words)
    return [wrapped(name, words)] if name in FORMS else []


def wrapped(name: str, words: Sequence[Word]) -> Inner:
    """What stands behind a wrapper's options; nothing where it only says something of itself."""
    form, at, sets = FORMS[name], 1, []
    while at < len(words) and certain(words[at], name).startswith("-") and len(words[at].text) > 1:
        if words[at].text == "--":
            at += 1
            break
        if name == "command" and words[at].text in ("-v", "-V"):
            return Inner()
        at += taken(form, words[at].text, name)
    while name in ("env", "sudo", "doas") and at < len(words) and (found := assigned(words[at])):
        sets.append(found)
        at += 1
    at += form.operands
    if any(word.kind != "literal" for word in words[:at] if not assigned(word)):
        raise Unknown(f"what {name} runs is not written out")
    return Inner(words[at:], sets=tuple(sets), plain=form.plain)


def taken(form: Form, option: str, name: str) -> int:
    """How many words an option is, with its value."""
    if option.startswith("--"):
        long, given, _ = option[2:].partition("=")
        if long in form.long_valued:
            return 1 if given else 2
        if long in form.long_alone and not given:
            return 1
        raise Unknown(f"{name} has the option {option}")
    for place, letter in enumerate(option[1:], start=2):
        if letter in form.valued:
            return 1 if option[place:] else 2
        if letter not in form.alone:
            raise Unknown(f"{name} has the option {option}")
    return 1


def certain(word: Word, name: str) -> str:
    """A word's text. Raises Unknown where it may be another one, an option or a program."""
    if word.kind != "literal":
        raise Unknown(f"what {name} runs is not written out")
    return word.text


def assigned(word: Word) -> str:
    """The variable that a word sets."""
    found = ASSIGNED.fullmatch(word.text)
    return found[1] if found else ""


def xargs(words: Sequence[Word]) -> list[Inner]:
    """Its words come from what it reads: behind the others, or where `-I` says."""
    found, mark = list(wrapped("xargs", words).words), ""
    for place, word in enumerate(words[: len(words) - len(found)]):
        if word.text.startswith("-I"):
            mark = word.text[2:] or words[place + 1].text
    if not found:
        return []
    if not mark:
        return [Inner([*found, ANYTHING])]
    return [Inner([ANYTHING if mark in word.text else word for word in found])]


def find(words: Sequence[Word]) -> list[Inner]:
    found, at = [], 1
    while at < len(words):
        if words[at].optional:
            raise Unknown("what find runs is not written out")
        at += 1
        if words[at - 1].text in ("-exec", "-execdir", "-ok", "-okdir"):
            end = at
            while end < len(words) and not ends(words[at:end], words[end].text):
                end += 1
            found.append(Inner([ANYTHING if "{}" in word.text else word for word in words[at:end]]))
            at = end
    return found


def ends(words: Sequence[Word], said: str) -> bool:
    """Whether find takes this as the end of a command."""
    return said == ";" or (said == "+" and len(words) > 0 and words[-1].text == "{}")


def shell(words: Sequence[Word]) -> list[Inner]:
    """`sh -c '…'`. A file that it runs is a program like any other; a line that it reads is not known."""
    at, script = 1, False
    while at < len(words):
        option = certain(words[at], "a shell")
        if option in ("--login", "--norc", "--noprofile", "--posix"):
            at += 1
        elif re.fullmatch(r"[-+][a-zA-Z]+", option) and not set(option) & {"s", "D"}:
            script |= option[0] == "-" and "c" in option
            at += 2 if set(option) & {"o", "O"} else 1
        else:
            break
    if script and at < len(words):
        return [Inner(script=certain(words[at], "a shell"))]
    if script or at >= len(words) or words[at].text.startswith(("-", "/dev/", "/proc/")):
        raise Unknown("a shell runs what it reads")
    return []


def evaluated(words: Sequence[Word]) -> list[Inner]:
    return [Inner(script=" ".join(certain(word, words[0].text) for word in words[1:]))]


def trap(words: Sequence[Word]) -> list[Inner]:
    script = next((word for word in words[1:] if word.text != "--"), Word("-"))
    return [] if script.text.startswith("-") else [Inner(script=certain(script, "trap"), plain=False)]


def su(words: Sequence[Word]) -> list[Inner]:
    raise Unknown(f"{words[0].text} runs a shell of another user")


def watch(words: Sequence[Word]) -> list[Inner]:
    return [Inner(script=" ".join(certain(word, "watch") for word in words[1:] if word.text[:1] != "-"))]


def git(words: Sequence[Word]) -> list[Inner]:
    """The command without the options before its name, as rules are written."""
    at = 1
    while at < len(words) and certain(words[at], "git").startswith("-"):
        option = words[at].text
        if option == "-c" and at + 1 < len(words) and HARMLESS_CONFIG.match(certain(words[at + 1], "git")):
            at += 2
        elif option.startswith(("-c", "--config-env", "--exec-path=")):
            raise Unknown(f"git's {option} may name any command")
        else:
            at += 2 if option in GIT_VALUED else 1
    rest = [word.text for word in words[at:]]
    runs = {("bisect", "run"), ("submodule", "foreach")}
    if rest[:1] == ["filter-branch"] or tuple(rest[:2]) in runs or rebases(rest):
        raise Unknown(f"git {rest[0]} runs commands of its own")
    return [Inner([words[0], *words[at:]], plain=False)] if at > 1 and rest else []


def rebases(rest: Sequence[str]) -> bool:
    return rest[:1] == ["rebase"] and any(word.startswith(("-x", "--e")) for word in rest)


SPECIAL: dict[str, Callable[[Sequence[Word]], list[Inner]]] = {
    **dict.fromkeys(SHELLS, shell),
    "xargs": xargs,
    "find": find,
    "eval": evaluated,
    "trap": trap,
    "su": su,
    "runuser": su,
    "watch": watch,
    "git": git,
}
