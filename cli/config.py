"""The user's choices as one frozen value: flags > environment > project file > user file > default."""

import logging
import re
import tomllib
from json import dumps
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, ValidationError

from cli import trust
from opta import env, paths
from opta.strict import Strict

log = logging.getLogger(__name__)

# A project that is trusted may say how to work in it, and still never where prompts go.
OF_A_PROJECT = {"model"}


class ConfigError(env.EnvError):
    """A choice that cannot be honoured; the message names the file (or variable or flag) and the key."""


URL = r"^https?://[^\s/?#@]+(/[^\s?#]*)?$"
# What a provider may be called: the part of a model's name before the slash.
ProviderName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]

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

    url: Annotated[str, Field(pattern=URL)]
    kind: Kind = "openai"
    max_output_tokens: Annotated[int, Field(ge=1, le=1_000_000)] = 8192


class Config(Strict):
    """`aliases` names models anew; the first of several that can be reached answers."""

    lmx_url: Annotated[str, Field(pattern=r"^https?://[^\s/?#]+(/[^\s?#]*)?$")] = "http://127.0.0.1:1234"
    daemon_port: Annotated[int, Field(ge=1, le=65535)] = 9999
    # Whether prompts may go to an LMX that announced itself on this network, which anybody there can do.
    lmx_discovery: bool = False
    limits: Limits = Limits()
    providers: dict[ProviderName, Provider] = {}
    aliases: dict[str, Annotated[list[str], Field(min_length=1)]] = {}
    model: Annotated[str, Field(min_length=1, max_length=200)] = "auto"
    # Whether the daemon runs turns for clients of OpenAI's API, at /v1.
    openai_api: bool = False
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
        config = Config.model_validate(merged)
    except ValidationError as error:
        raise ConfigError("\n".join(problem(item, sources) for item in error.errors())) from error
    source = sources.get("model", "")
    if source in (str(file) for file in files(cwd)[1:]) and leads_away(config):
        message = f"{source}: model: a project may not send prompts to {config.model}. Choose it by --model."
        raise ConfigError(message)
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


def add_provider(name: str, provider: Provider) -> None:
    """Write a provider into the user's file, at its end; what stands there stays as it is."""
    lines = [f"[providers.{name}]", f"url = {dumps(provider.url)}", f"kind = {dumps(provider.kind)}"]
    text = user_file().read_text() if user_file().exists() else ""
    rewrite(text, f"{text.rstrip()}\n\n{chr(10).join(lines)}\n".lstrip(), name, provider)


def remove_provider(name: str) -> None:
    """Take a provider's table out of the user's file."""
    text = user_file().read_text()
    # Its lines end with the first that is blank or a comment: that is about what follows.
    table = re.compile(
        rf"^\[providers\.{re.escape(name)}\][^\n]*\n(?:[^\[#\s][^\n]*(?:\n|\Z))*\n?", re.MULTILINE
    )
    rewrite(text, table.sub("", text), name, None)


def rewrite(before: str, after: str, name: str, provider: Provider | None) -> None:
    """Replace the user's file at once. Raises ConfigError, and leaves it, if more would change than meant."""
    wanted = tomllib.loads(before)
    providers = {key: value for key, value in wanted.pop("providers", {}).items() if key != name}
    if provider:
        providers[name] = {"url": provider.url, "kind": provider.kind}
    try:
        found = tomllib.loads(after)
    except ValueError:
        found = {}
    if {**wanted, "providers": providers} != {"providers": {}, **found}:
        raise ConfigError(f"{user_file()}: providers.{name} is written in a way of its own. Edit it by hand.")
    paths.private(user_file().parent)
    file = user_file().resolve()  # it may be a link into a folder that the user keeps versions of
    draft = file.with_suffix(".new")
    draft.write_text(after)
    if file.exists():
        draft.chmod(file.stat().st_mode)
    draft.replace(file)


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
    if error["type"] == "extra_forbidden" and len(error["loc"]) == 1:
        return f"{sources[key]}: {key}: there is no such key. Known: {', '.join(Config.model_fields)}."
    return f"{sources[key]}: {'.'.join(map(str, error['loc']))}: {error['msg']}"
