"""A seccomp filter: the system calls by which a process would get around what Landlock holds (seccomp(2))."""

import ctypes
import os
import struct

from cli.sandbox.landlock import LIBC, check

SET_SECCOMP, FILTER = 22, 2
LOAD, EQUAL, AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06
ALLOW, REFUSE = 0x7FFF0000, 0x00050001  # the latter with EPERM
NUMBER, ARCHITECTURE, FIRST = 0, 4, 16
AF_UNIX, AF_INET, AF_INET6 = 1, 2, 10
X32 = 0x40000000

# By architecture: its number for audit, then `socket`, then what nobody may call: mounts and namespaces,
# others' memory, the kernel's keys, io_uring (which makes sockets without the call that is watched), bpf.
KNOWN = {
    "x86_64": (
        0xC000003E, 41,
        (165, 166, 155, 161, 272, 308, 428, 429, 430, 432, 442, 101, 310, 311, 248, 249, 250, 425, 321, 298),
    ),
    "aarch64": (
        0xC00000B7, 198,
        (40, 39, 41, 51, 97, 268, 428, 429, 430, 432, 442, 117, 270, 271, 217, 218, 219, 425, 280, 241),
    ),
}  # fmt: skip


def known() -> bool:
    return os.uname().machine in KNOWN


def restrict(*, internet: bool) -> None:
    """Refuse those calls, and sockets: those to programs of this machine, for behind one of them (D-Bus,
    Docker, tmux) is who would run anything; and, without `internet`, all that reach beyond it.

    A `socketpair` stays. Where the architecture is not known, nothing is refused. Raises OSError.
    """
    if not known():
        return
    audit, socket, never = KNOWN[os.uname().machine]
    domains = (AF_UNIX,) if internet else (AF_UNIX, AF_INET, AF_INET6)
    # How far it is from each test to the last two instructions: allow, refuse.
    tests = [(EQUAL, number) for number in never]
    tail = len(domains)
    program = [
        (LOAD, 0, 0, ARCHITECTURE),
        (EQUAL, 1, 0, audit),
        (RETURN, 0, 0, REFUSE),
        (LOAD, 0, 0, NUMBER),
        # From here on: every test, then `socket`, its first argument, a test for each domain, and the end.
        (AT_LEAST, len(tests) + 3 + tail, 0, X32),
    ]
    for at, (test, value) in enumerate(tests):
        program.append((test, len(tests) - at - 1 + 3 + tail, 0, value))
    program += [(EQUAL, 0, tail + 1, socket), (LOAD, 0, 0, FIRST)]
    program += [(EQUAL, tail - at, 0, domain) for at, domain in enumerate(domains)]
    program += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, REFUSE)]
    code = b"".join(struct.pack("HBBI", *each) for each in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    given = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(program), ctypes.addressof(buffer)))
    check(LIBC.prctl(SET_SECCOMP, FILTER, given, 0, 0), "seccomp")
