"""Seatbelt: the same rules as a profile for macOS's `sandbox-exec`, where the rule that stands last wins."""

from collections.abc import Sequence

PROGRAM = "/usr/bin/sandbox-exec"
DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom", "/dev/dtracehelper")
# The services by which another program would be told to run something.
SERVICES = ("com.apple.coreservices.appleevents", "com.apple.coreservices.launchservicesd")


def profile(
    writable: Sequence[str], hidden: Sequence[str], read_only: Sequence[str], *, network: bool
) -> str:
    """Paths are real ones: Seatbelt compares them with links followed."""
    lines = [
        "(version 1)",
        "(allow default)",
        "(deny file-write*)",
        f"(allow file-write* {below(writable)} {literals(DEVICES)})",
        f"(deny file-write* {below(read_only)})" if read_only else "",
        # What is above a protected path is not moved away from under it either.
        f"(deny file-write-unlink {literals(sorted({above(path) for path in read_only}))})"
        if read_only
        else "",
        f"(deny file-read-data file-write* {below(hidden)})" if hidden else "",
        # A command's private folder may lie below what is hidden.
        f"(allow file-read-data file-write* {below(writable[-1:])})",
        "" if network else "(deny network*)",
        # Behind such a socket is who would run anything.
        "(deny network-outbound (remote unix-socket))",
        "(deny signal (target others))",
        "(allow signal (target same-sandbox))",
        f"(deny mach-lookup {' '.join(f'(global-name {quoted(name)})' for name in SERVICES)})",
        "(deny appleevent-send)",
    ]
    return "\n".join(filter(None, lines)) + "\n"


def below(paths: Sequence[str]) -> str:
    return " ".join(f"(subpath {quoted(path)})" for path in paths)


def literals(paths: Sequence[str]) -> str:
    return " ".join(f"(literal {quoted(path)})" for path in paths)


def above(path: str) -> str:
    return path.rpartition("/")[0] or "/"


def quoted(text: str) -> str:
    """A string of the profile's language."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
