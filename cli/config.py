"""The user's choices as one frozen value: flags > environment > project file > user file > default."""

import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from cli import trust
from opta import env, paths
from opta.strict import Strict

# A project that is trusted may say how to work in it, and still never where prompts go.
OF_A_PROJECT = {"model"}


class ConfigError(env.EnvError):
    """A choice that cannot be honoured; the message names the file (or variable or flag) and the key."""


class Config(Strict):
    lmx_url: Annotated[str, Field(pattern=r"^https?://[^\s/?#]+(/[^\s?#]*)?$")] = "http://127.0.0.1:1234"
    daemon_port: Annotated[int, Field(ge=1, le=65535)] = 9999
    model: Annotated[str, Field(min_length=1, max_length=200)] = "auto"
    sites_url: Annotated[str, Field(pattern=r"^https?://[^\s/?#]+$")] = "http://opta.localhost:8000"


def load(cwd: Path | None = None, **flags: Any) -> Config:
    """The choices that hold in `cwd`, or outside of any project when it is None; a flag of None is not given.

    Raises ConfigError with every problem found, one a line.
    """
    layers = [
        *((str(file), read(file)) for file in files(cwd)),
        ("environment", from_environment()),
        ("command line", {key: value for key, value in flags.items() if value is not None}),
    ]
    sources = {key: source for source, values in layers for key in values}
    merged = {key: value for _, values in layers for key, value in values.items()}
    try:
        return Config.model_validate(merged)
    except ValidationError as error:
        raise ConfigError("\n".join(problem(item, sources) for item in error.errors())) from error


def user_file() -> Path:
    return paths.opta_home() / "config.toml"


def files(cwd: Path | None) -> list[Path]:
    """The user's file, then the nearest project's when its folder is trusted: the later one wins."""
    folders = [cwd, *cwd.parents] if cwd else []
    projects = (folder / ".opta" / "config.toml" for folder in folders)
    project = next((file for file in projects if file != user_file() and file.is_file()), None)
    if project is None or not trust.trusted(project.parent.parent):
        return [user_file()]
    return [user_file(), project]


def read(file: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(file.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:  # ValueError: not TOML, or not UTF-8
        raise ConfigError(f"{file}: {error}") from error
    if file != user_file() and (foreign := sorted(set(values) & set(Config.model_fields) - OF_A_PROJECT)):
        raise ConfigError(f"{file}: {foreign[0]}: a project may not set it. Set it in {user_file()}.")
    return values


def from_environment() -> dict[str, Any]:
    try:
        found = {
            "lmx_url": env.text("OPTA_LMX_URL", ""),
            "daemon_port": env.port("OPTA_DAEMON_PORT", 0),
            "model": env.text("OPTA_MODEL", ""),
            "sites_url": sites_url(env.text("OPTA_DOMAIN", ""), env.port("OPTA_SITES_PORT", 0)),
        }
    except env.EnvError as error:
        raise ConfigError(str(error)) from error
    return {key: value for key, value in found.items() if value}


def sites_url(domain: str, port: int) -> str:
    """Where the sites are, from the two variables that their own settings read; empty when neither is set."""
    if not domain and not port:
        return ""
    domain = domain or "opta.localhost"
    return f"http://{domain}:{port or 8000}" if domain.endswith(".localhost") else f"https://{domain}"


def problem(error: Any, sources: dict[str, str]) -> str:
    key = str(error["loc"][0])
    if error["type"] == "extra_forbidden":
        return f"{sources[key]}: {key}: there is no such key. Known: {', '.join(Config.model_fields)}."
    return f"{sources[key]}: {key}: {error['msg']}"
