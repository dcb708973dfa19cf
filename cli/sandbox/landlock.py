"""Landlock: which files a process and all that it starts may write and read, for good (landlock(7))."""

import ctypes
import os
import stat
from collections.abc import Iterator, Sequence

LIBC = ctypes.CDLL(None, use_errno=True)
# The same on every architecture.
CREATE, ADD, RESTRICT = 444, 445, 446
NO_NEW_PRIVS = 38

WRITE_FILE, READ_FILE, REFER, TRUNCATE, IOCTL_DEV = 1 << 1, 1 << 2, 1 << 13, 1 << 14, 1 << 15
# Removing and making of every kind.
CHANGE_FOLDER = sum(1 << bit for bit in range(4, 13))
OF_FILES = WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
TCP = 0b11
SCOPED = 0b11


class Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


def check(result: int, what: str) -> int:
    """Raises OSError for what a call of the C library answers as an error."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def abi() -> int:
    """What this kernel knows of Landlock; 0 where there is none."""
    return max(int(LIBC.syscall(CREATE, None, 0, 1)), 0)


def handled(version: int) -> int:
    """What is forbidden unless a rule allows it. Names of files may be listed anywhere."""
    rights = WRITE_FILE | READ_FILE | CHANGE_FOLDER
    rights |= REFER if version >= 2 else 0
    rights |= TRUNCATE if version >= 3 else 0
    return rights | (IOCTL_DEV if version >= 5 else 0)


def restrict(writable: Sequence[str], hidden: Sequence[str], *, tcp: bool) -> None:
    """From now on: writing below `writable` alone, reading everywhere but below `hidden`, which are real
    paths; no TCP unless `tcp`; signals and abstract sockets among those restricted here. Raises OSError."""
    version = abi()
    rights = handled(version)
    scoped = SCOPED if version >= 6 else 0
    rules = Ruleset(rights, TCP if version >= 4 and not tcp else 0, scoped)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = check(LIBC.syscall(CREATE, ctypes.byref(rules), size, 0), "landlock_create_ruleset")
    for path in writable:
        allow(ruleset, path, rights)
    for path in readable("/", hidden):
        allow(ruleset, path, READ_FILE)
    check(LIBC.prctl(NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    check(LIBC.syscall(RESTRICT, ruleset, 0), "landlock_restrict_self")
    os.close(ruleset)


def readable(folder: str, hidden: Sequence[str]) -> Iterator[str]:
    """What covers all below `folder` but the hidden: Landlock cannot take back what it allowed above.

    Links are passed over: a rule is about where they lead to.
    """
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if entry.path in hidden or entry.is_symlink():
            continue
        if any(path.startswith(f"{entry.path}/") for path in hidden):
            yield from readable(entry.path, hidden)
        else:
            yield entry.path


def allow(ruleset: int, path: str, rights: int) -> None:
    try:
        at = os.open(path, os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:  # it went away meanwhile, or may not be looked at: then nothing is allowed there
        return
    try:
        folder = stat.S_ISDIR(os.fstat(at).st_mode)
        rule = Beneath(rights if folder else rights & OF_FILES, at)
        check(LIBC.syscall(ADD, ruleset, 1, ctypes.byref(rule), 0), f"landlock_add_rule: {path}")
    finally:
        os.close(at)
