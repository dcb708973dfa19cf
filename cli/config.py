"""The user's choices as one frozen value: flags > environment > project file > user file > default."""

import logging
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationError

from cli import trust
from opta import env, paths
from opta.strict import Strict

log = logging.getLogger(__name__)

# A project that is trusted may say how to work in it, and still never where prompts go.
OF_A_PROJECT = {"model"}
# What the daemon reads once, at its start; all else holds from the next request on.
AT_START = {"daemon_port"}
# Where the environment says something of a choice.
VARIABLES = {
    "lmx_url": "OPTA_LMX_URL",
    "daemon_port": "OPTA_DAEMON_PORT",
    "model": "OPTA_MODEL",
    "sites_url": "OPTA_DOMAIN or OPTA_SITES_PORT",
}


class ConfigError(env.EnvError):
    """A choice that cannot be honoured; the message names the file (or variable or flag) and the key."""


def with_host(url: str) -> str:
    """`url`, if a connection could be made to it. Raises ValueError for what is no host or no port."""
    if not (url.isascii() and url.isprintable()):
        raise ValueError("it has characters that are none of a URL; a host's other letters are written xn--…")
    parts = urlsplit(url)
    if not parts.hostname or parts.port == 0:
        raise ValueError("it names no host and port to connect to")
    return url


# No name and password in it: what holds a secret could not be shown.
Url = Annotated[str, Field(pattern=r"^https?://[^\s/?#@]+(/[^\s?#]*)?$"), AfterValidator(with_host)]
# What a provider may be called: the part of a model's name before the slash.
ProviderName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]

# As a URL has it, such as intranet.example, 127.0.0.1:8000 or [::1].
Host = Annotated[str, Field(pattern=r"^(\[[0-9a-f:]+\]|[a-z0-9._-]+)(:[1-9][0-9]{0,4})?$")]

Kind = Literal["openai", "anthropic", "lmx"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class Limits(Strict):
    """How long a model server may be silent, in seconds; any byte of it, a keep-alive too, is life.

    Before the first token much is allowed: a server that says nothing while it reads a long prompt is
    slow, and asking it again would start from zero.
    """

    connect_seconds: Annotated[float, Field(gt=0, le=300)] = 5
    first_token_seconds: Annotated[float, Field(gt=0, le=86400)] = 3600
    idle_seconds: Annotated[float, Field(gt=0, le=86400)] = 600


class Provider(Strict):
    """A model server by its address: the one way for a prompt to leave this network.

    `kind` is the API it speaks; another LMX joins the hosts that answer for models without a provider's
    name. Anthropic's API wants to be told how long an answer may be.
    """

    url: Url
    kind: Kind = "openai"
    max_output_tokens: Annotated[int, Field(ge=1, le=1_000_000)] = 8192


class Config(Strict):
    """`aliases` names models anew; the first of several that can be reached answers."""

    lmx_url: Url = "http://127.0.0.1:1234"
    daemon_port: Annotated[int, Field(ge=1, le=65535)] = 9999
    # After so long without anything to do the daemon ends; 0 for never.
    daemon_idle_minutes: Annotated[float, Field(ge=0, le=100_000)] = 0
    # Whether prompts may go to an LMX that announced itself on this network, which anybody there can do.
    lmx_discovery: bool = False
    limits: Limits = Limits()
    providers: dict[ProviderName, Provider] = {}
    aliases: dict[str, Annotated[list[str], Field(min_length=1)]] = {}
    model: Annotated[str, Field(min_length=1, max_length=200)] = "auto"
    # Whether the daemon runs turns for clients of OpenAI's API, at /v1.
    openai_api: bool = False
    # Hosts that tools may ask though they are private, with their port where it is not the scheme's own.
    web_allow: list[Host] = []
    sites_url: Annotated[str, Field(pattern=r"^https?://[^\s/?#@]+$")] = "http://opta.localhost:8000"


class Layer(NamedTuple):
    """What one source says; `where` is a file, or what else to tell a user of it."""

    source: Literal["file", "project", "environment", "flag"]
    where: str
    values: dict[str, Any]


def load(cwd: Path | None = None, **flags: Any) -> Config:
    """The choices that hold in `cwd`, or outside of any project when it is None; a flag of None is not given.

    Raises ConfigError with every problem found, one a line.
    """
    given = {key: value for key, value in flags.items() if value is not None}
    return merged([*layers(cwd), Layer("flag", "command line", given)])


def layers(cwd: Path | None) -> list[Layer]:
    """Every source but flags and defaults; a later one wins. Raises ConfigError."""
    user, *projects = files(cwd)
    return [
        Layer("file", str(user), read(user)),
        *(Layer("project", str(file), read(file)) for file in projects),
        Layer("environment", "environment", from_environment()),
    ]


def merged(found: list[Layer]) -> Config:
    """The choices of these sources together. Raises ConfigError."""
    sources = {key: layer for layer in found for key in layer.values}
    try:
        config = Config.model_validate({key: layer.values[key] for key, layer in sources.items()})
    except ValidationError as error:
        raise ConfigError("\n".join(problem(item, sources) for item in error.errors())) from error
    layer = sources.get("model")
    if layer and layer.source == "project" and leads_away(config):
        raise ConfigError(
            f"{layer.where}: model: a project may not send prompts to {config.model}. Choose it by --model."
        )
    return config


def leads_away(config: Config) -> bool:
    """Whether the model's name leads to something else than the LMX hosts."""
    return config.model in config.aliases or config.model.partition("/")[0] in config.providers


class Current:
    """The choices as the user's file has them now: it is read again when it changed."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.stamp = stamp()

    def __call__(self) -> Config:
        """A file that became wrong is told of in the log, and the choices before it hold."""
        if (now := stamp()) != self.stamp:
            self.stamp = now
            try:
                self.config = load()
            except ConfigError as error:
                log.warning("%s", error)
        return self.config


def stamp() -> tuple[int, int, int] | None:
    """What changes whenever the user's file does; None while there is none."""
    try:
        found = user_file().stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


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
            "lmx_url": env.text(VARIABLES["lmx_url"], ""),
            "daemon_port": env.port(VARIABLES["daemon_port"], 0),
            "model": env.text(VARIABLES["model"], ""),
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


def problem(error: Any, sources: dict[str, Layer]) -> str:
    """One of pydantic's errors, after the source of the key that is wrong."""
    return f"{sources[str(error['loc'][0])].where}: {complaint(error)}"


def complaint(error: Any) -> str:
    key = str(error["loc"][0])
    if error["type"] == "extra_forbidden" and len(error["loc"]) == 1:
        return f"{key}: there is no such key. Known: {', '.join(Config.model_fields)}."
    said = error["msg"].removeprefix("Value error, ")
    return f"{'.'.join(map(str, error['loc']))}: {said}"
