"""LMX's choices: a frozen value from flags, else the environment, else the default."""

from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

import psutil
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from opta import env, paths


class ConfigError(Exception):
    """One line for every choice that is wrong, each with its flag or variable."""


def absolute(value: object) -> Path:
    folder = Path(str(value)).expanduser()
    if not folder.is_absolute():
        raise ValueError(f"{value} is a relative path; write an absolute one")
    return folder


def names(value: object) -> frozenset[str]:
    return frozenset(name.strip().lower() for name in str(value).split(",") if name.strip())


class Config(BaseModel):
    """What the user decides about LMX; made once at start and handed down."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", min_length=1, description="the address to listen on")
    port: int = Field(1234, ge=1, le=65535, description="the port to listen on")
    models: Annotated[Path, BeforeValidator(absolute)] = Field(description="the folder of models")
    hosts: Annotated[frozenset[str], BeforeValidator(names)] = Field(
        frozenset(), description="names that browsers may call this server by, comma-separated"
    )
    load_timeout: int = Field(600, ge=1, description="seconds that loading a model may take")
    queue: int = Field(128, ge=1, description="requests that may wait, per model")
    prefix_cache_mb: int | None = Field(
        None, ge=0, description="memory for kept prompt prefixes, per model; 9 % of the machine's by default"
    )
    prefix_disk_mb: int = Field(
        4096, ge=0, description="disk for kept prompt prefixes, of all models together"
    )

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def prefix_cache_bytes(self) -> int:
        """By default a tenth of the ceiling, which is 90 % of the machine's memory."""
        if self.prefix_cache_mb is None:
            return int(psutil.virtual_memory().total * 0.9 * 0.1)
        return self.prefix_cache_mb * 1024 * 1024


def variable(name: str) -> str:
    """The environment variable that holds choice `name`."""
    return f"LMX_{name.upper()}"


def is_loopback(host: str) -> bool:
    """Whether `host`, a name or an address without brackets, is this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def load(flags: Mapping[str, object]) -> Config:
    """The configuration; `flags` that are None were not given. Raises ConfigError."""
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        chosen: dict[str, object] = {"models": paths.lmx_home() / "models"}
        chosen |= {name: text for name in Config.model_fields if (text := env.text(variable(name), ""))}
        return Config.model_validate({**chosen, **given})
    except env.EnvError as error:
        raise ConfigError(str(error)) from error
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            name = str(problem["loc"][0])
            source = f"--{name.replace('_', '-')}" if name in given else variable(name)
            lines.append(f"{source}={problem['input']}: {problem['msg']}.")
        raise ConfigError("\n".join(lines)) from error
