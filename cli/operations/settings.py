"""The user's settings: told with where each came from, and changed in his file as it stands.

A change is a merge patch (RFC 7396): what it does not name stays, null takes a key back to its default.
"""

import fcntl
import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from json import dumps
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from cli import config
from cli.clients.lan import on_lan
from cli.config import AT_START, VARIABLES, ConfigError, Layer, Provider
from cli.operations import toml
from cli.operations.changes import Change
from cli.protocol.settings import Setting, SettingList
from opta import paths

Patch = Mapping[str, Any]

# Names that mean something else before a model's slash, or as a model.
TAKEN = ("lmx", "auto")


class BrokenFile(ConfigError):
    """The user's file was wrong before anything was changed: it is left for the user to mend."""


def shown(cwd: Path | None = None) -> SettingList:
    """Every setting as it holds in `cwd`, or outside of any project. Raises BrokenFile."""
    try:
        layers = config.layers(cwd)
        values = config.merged(layers).model_dump(mode="json")
    except ConfigError as error:
        raise BrokenFile(f"{error}. Mend it first.") from error
    return SettingList(
        file=str(config.user_file()),
        settings=[setting(path, value, layers) for path, value in leaves(values)],
    )


def setting(path: tuple[str, ...], value: object, layers: list[Layer]) -> Setting:
    """A value with the last source that says it; a table that is said in part has defaults for the rest."""
    found = next((layer for layer in reversed(layers) if path[0] in layer.values), None)
    said = found is not None and has(found.values, path)
    where = VARIABLES[path[0]] if found and found.source == "environment" else found.where if found else ""
    return Setting(
        key=written(path),
        value=value,
        source=found.source if found and said else "default",
        where=where if said else "",
        restart=path[0] in AT_START,
    )


def change(patch: Patch) -> list[str]:
    """Write into the user's file what a patch says; the keys that wait for the daemon's next start.

    Raises ConfigError, BrokenFile where it stands so already, and leaves the file as it is.
    """
    with alone():
        file = config.user_file()
        before = whole(file)
        wanted = toml.merged(before, patch)
        check(file, before, wanted)
        text = toml.edited(file.read_bytes().decode() if file.exists() else "", patch)
        if toml.pruned(tomllib.loads(text)) != toml.pruned(wanted):
            keys = ", ".join(patch)
            raise ConfigError(f"{file}: {keys}: it is written in a way of its own. Edit it by hand.")
        if wanted != before:
            replace(file, text)
    return sorted(key for key in AT_START if before.get(key) != wanted.get(key))


def whole(file: Path) -> dict[str, Any]:
    """What the file says. Raises BrokenFile."""
    try:
        return config.read(file)
    except ConfigError as error:
        raise BrokenFile(f"{error}. Mend it first: nothing was changed.") from error


def check(file: Path, before: Patch, wanted: Patch) -> None:
    """Raises ConfigError for settings that cannot be honoured, BrokenFile if that is no fault of a change."""
    try:
        choices = config.merged([Layer("file", str(file), dict(wanted))])
    except ConfigError as error:
        try:
            config.merged([Layer("file", str(file), dict(before))])
        except ConfigError as already:
            raise BrokenFile(f"{already}. Mend it first: nothing was changed.") from error
        raise
    for name, provider in choices.providers.items():
        if wanted["providers"][name] != before.get("providers", {}).get(name):
            check_provider(name, provider)


def check_provider(name: str, provider: Provider) -> None:
    """Raises ConfigError for a name that means something else, and for a key that is sent in the clear."""
    if name in TAKEN:
        raise ConfigError(f"A provider cannot be called {name}. Choose another name.")
    parts = urlsplit(provider.url)
    if parts.scheme == "http" and not nearby(parts.hostname or ""):
        raise ConfigError(
            f"providers.{name}.url: {provider.url} would carry prompts and the key in the clear. Use https."
        )


def nearby(host: str) -> bool:
    """Whether a host is on this network by its name or number alone."""
    try:
        return on_lan(host)
    except ValueError:
        return "." not in host or host.endswith((".local", ".localhost", ".lan", ".internal", ".home.arpa"))


@contextmanager
def alone() -> Iterator[None]:
    """One change at a time, of whatever process: each begins with what the one before has written."""
    lock = paths.private(paths.opta_home()) / "config.lock"
    with lock.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def replace(file: Path, text: str) -> None:
    target = file.resolve()  # it may be a link into a folder that the user keeps versions of
    mode = target.stat().st_mode if target.exists() else 0o600
    paths.replace(target, text)
    target.chmod(mode)


def patch_of(key: str, text: str) -> dict[str, Any]:
    """What sets a key to what a user wrote behind it: a text where the key takes one, else a TOML value.

    Raises ConfigError for what is no key, or no value of this one.
    """
    path = parsed(key)
    patches = [nested(path, value) for value in (text, *literal(text))]
    for patch in patches:
        try:
            Change.model_validate(patch)
            return patch
        except ValidationError as error:
            wrong = error.errors()[0]
    raise ConfigError(config.complaint(wrong))


def parsed(key: str) -> tuple[str, ...]:
    """The parts of a dotted key. Raises ConfigError for what TOML does not take for one."""
    try:
        found: Any = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError:
        found = {}
    path: tuple[str, ...] = ()
    while isinstance(found, dict) and len(found) == 1:
        ((part, found),) = found.items()
        path += (part,)
    if found != 0 or not path:
        raise ConfigError(f"{key!r} is no key. `opta config list` has those there are.")
    return path


def literal(text: str) -> list[Any]:
    try:
        return [tomllib.loads(f"value = {text}")["value"]]
    except tomllib.TOMLDecodeError:
        return []


def nested(path: tuple[str, ...], value: object) -> dict[str, Any]:
    for part in reversed(path):
        value = {part: value}
    return value  # type: ignore[return-value]  # a path has a part


def leaves(value: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """What is no table, with the keys that lead to it."""
    for key, each in value.items():
        if isinstance(each, dict):
            yield from leaves(each, (*path, key))
        else:
            yield (*path, key), each


def has(values: Any, path: tuple[str, ...]) -> bool:
    for part in path:
        if not isinstance(values, Mapping) or part not in values:
            return False
        values = values[part]
    return True


def written(path: tuple[str, ...]) -> str:
    """The path as TOML's dotted key."""
    return ".".join(part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else dumps(part) for part in path)
