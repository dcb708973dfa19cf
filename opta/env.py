"""Strict readers of the environment: a value is right, or the process does not start.

No Django here: the client and the runners read their environment by it too.
"""

import os
from pathlib import Path


class EnvError(Exception):
    """A variable holds what it must not; the message names it and says what is wanted."""


def text(name: str, default: str | None = None) -> str:
    """`name`, or the contents of the file that `name`_FILE points to (for mounted secrets).

    Raises EnvError when neither is set and there is no default.
    """
    if value := os.environ.get(name):
        return value
    if file := os.environ.get(f"{name}_FILE"):
        try:
            return Path(file).read_text().strip()
        except OSError as error:
            raise EnvError(f"{name}_FILE: cannot read {file}: {error.strerror}") from error
    if default is None:
        raise EnvError(f"{name} is not set. Set it, or {name}_FILE to the path of a file that holds it.")
    return default


def flag(name: str, *, default: bool = False) -> bool:
    """1 or 0, true or false, yes or no; anything else raises EnvError."""
    value = os.environ.get(name, "").lower()
    if not value:
        return default
    if value in ("1", "true", "yes"):
        return True
    if value in ("0", "false", "no"):
        return False
    raise EnvError(f"{name}={value!r}: write 1 or 0.")


def integer(name: str, default: int, *, least: int = 0, most: int = 2**31) -> int:
    """A whole number from `least` to `most`; anything else raises EnvError."""
    value = os.environ.get(name, "")
    if not value:
        return default
    if not value.isdecimal() or not least <= int(value) <= most:
        raise EnvError(f"{name}={value!r}: write a whole number from {least} to {most}.")
    return int(value)


def port(name: str, default: int) -> int:
    return integer(name, default, least=1, most=65535)


def path(name: str, default: Path) -> Path:
    """A folder or file, `~` expanded; EnvError for a relative one: roles start in different folders."""
    value = os.environ.get(name, "")
    if not value:
        return default
    found = Path(value).expanduser()
    if not found.is_absolute():
        raise EnvError(f"{name}={value!r}: write an absolute path.")
    return found
