"""Keys of providers: in the system's keychain, or in a file of the user's alone where there is none."""

import errno
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from opta import paths

log = logging.getLogger(__name__)

SERVICE = "opta"
KEYCHAIN = "the system's keychain"
KEYS = TypeAdapter(dict[str, str])


def file() -> Path:
    return paths.opta_home() / "keys.json"


def store(name: str, secret: str) -> str:
    """Keep a key; returns where, in words. What was kept under the name before is forgotten."""
    if keep(name, secret):
        write({key: value for key, value in kept().items() if key != name})
        return KEYCHAIN
    write({**kept(), name: secret})
    return f"{file()}, which you alone can read, for this system offers no keychain"


def find(name: str) -> str | None:
    """The key under a name. The file is asked too: it may be from a time without a keychain."""
    import keyring  # 120 ms, which only a provider with a key costs

    found = None
    with optional():
        found = keyring.get_password(SERVICE, name)
    return found or kept().get(name)


def forget(name: str) -> None:
    """Drop a key, wherever it is; it is no matter if there is none."""
    import keyring

    write({key: value for key, value in kept().items() if key != name})
    with optional():  # nothing was kept where nothing can be asked
        if keyring.get_password(SERVICE, name) is not None:
            keyring.delete_password(SERVICE, name)


def keep(name: str, secret: str) -> bool:
    """Whether the system's keychain took the key: read back, for some take and forget."""
    import keyring

    with optional():
        keyring.set_password(SERVICE, name, secret)
        return keyring.get_password(SERVICE, name) == secret
    return False


@contextmanager
def optional() -> Iterator[None]:
    """Go on without the system's keychain where there is none, or it is locked."""
    try:
        yield
    except Exception as error:  # a backend raises what its system does: keyring's own errors are not all
        log.info("the system's keychain cannot be asked: %s", error)


def kept() -> dict[str, str]:
    """What the file holds. Raises OSError when it cannot be read as that."""
    try:
        return KEYS.validate_json(file().read_bytes())
    except FileNotFoundError:
        return {}
    except ValidationError as error:
        what = "it does not hold keys: remove it, and add the providers' keys again"
        raise OSError(errno.EINVAL, what, str(file())) from error


def write(keys: dict[str, str]) -> None:
    """Replace the file at once, or remove it when nothing is left; a crash leaves the old one."""
    if not keys:
        file().unlink(missing_ok=True)
        return
    paths.private(file().parent)
    draft = file().with_suffix(".new")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        json.dump(keys, out)
        out.flush()
        os.fsync(out.fileno())
    draft.replace(file())
