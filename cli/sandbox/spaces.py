"""Namespaces of its own for a command: mounts, processes, network, where the system lets users make them.

They hold what Landlock cannot: what lies read-only within a folder that may be written, every kind of
network, and the end of all processes with the first of them (namespaces(7)).
"""

import ctypes
import os
import struct
from collections.abc import Sequence

from cli.sandbox.landlock import LIBC, check

NEW_MOUNTS, NEW_IPC, NEW_USER, NEW_PIDS, NEW_NET = 0x20000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
READ_ONLY, REMOUNT, BIND, RECURSIVE, PRIVATE = 1, 32, 4096, 16384, 1 << 18
NO_SUID, NO_DEV, NO_EXEC = 2, 4, 8
# A remount must say again what a mount is not to lose; but for this one both names have one number.
KEPT, RELATIVE_TIME = 2 | 4 | 8 | 1024 | 2048, (4096, 1 << 21)
SHARED_MEMORY = "/dev/shm"  # noqa: S108 -- a private one is mounted there
AF_INET, DATAGRAM, SET_FLAGS, UP_AND_RUNNING = 2, 2, 0x8914, 0x41


def enter(read_only: Sequence[str], pinned: Sequence[str], *, network: bool) -> None:
    """New namespaces, in which these paths cannot be written, and the pinned not be moved; `network` keeps
    the machine's own. The next child is the first of its processes. Raises OSError."""
    user, group = os.geteuid(), os.getegid()
    spaces = NEW_USER | NEW_MOUNTS | NEW_PIDS | NEW_IPC | (0 if network else NEW_NET)
    check(LIBC.unshare(spaces), "unshare")
    write("/proc/self/setgroups", "deny")
    write("/proc/self/uid_map", f"{user} {user} 1")
    write("/proc/self/gid_map", f"{group} {group} 1")
    mount(None, "/", None, RECURSIVE | PRIVATE)
    for path in (*pinned, *read_only):
        mount(path, path, None, BIND | RECURSIVE)
    for path in read_only:
        mount(None, path, None, BIND | REMOUNT | READ_ONLY | flags(path))
    if os.path.isdir(SHARED_MEMORY):
        mount("tmpfs", SHARED_MEMORY, "tmpfs", NO_SUID | NO_DEV)
    if not network:
        raise_loopback()


def own_processes() -> None:
    """By the first process: a /proc that shows its kin alone, unless a container around us forbids it."""
    LIBC.mount(b"proc", b"/proc", b"proc", ctypes.c_ulong(NO_SUID | NO_DEV | NO_EXEC), None)


def write(file: str, text: str) -> None:
    at = os.open(file, os.O_WRONLY)
    try:
        os.write(at, text.encode())
    finally:
        os.close(at)


def mount(source: str | None, target: str, kind: str | None, flags: int) -> None:
    names = [os.fsencode(each) if each is not None else None for each in (source, target, kind)]
    check(LIBC.mount(*names, ctypes.c_ulong(flags), None), f"mount {target}")


def flags(path: str) -> int:
    now = os.statvfs(path).f_flag
    seen, meant = RELATIVE_TIME
    return now & KEPT | (meant if now & seen else 0)


def raise_loopback() -> None:
    """The command's own 127.0.0.1, for the servers that tests start."""
    at = check(LIBC.socket(AF_INET, DATAGRAM, 0), "socket")
    try:
        request = ctypes.create_string_buffer(struct.pack("16sh22x", b"lo", UP_AND_RUNNING), 40)
        check(LIBC.ioctl(at, ctypes.c_ulong(SET_FLAGS), request), "loopback")
    finally:
        os.close(at)
