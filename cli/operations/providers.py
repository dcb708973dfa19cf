"""Providers: added with their key, and removed with it."""

from typing import Annotated

from pydantic import Field
from pydantic.config import JsonDict

from cli import config, keychain
from cli.config import ConfigError, Kind, Provider, ProviderName, Url
from cli.operations import settings
from opta.strict import Strict

# As JSON Schema says that a field is not to be shown.
SECRET: JsonDict = {"format": "password", "writeOnly": True}


class ProviderCreate(Strict):
    """A model server by its address; the key goes to the keychain, and is never told again."""

    name: ProviderName
    url: Url
    kind: Kind = "openai"
    key: Annotated[str, Field(max_length=10_000, pattern=r"^[!-~]*$", json_schema_extra=SECRET)] = ""

    @property
    def provider(self) -> Provider:
        return Provider(url=self.url, kind=self.kind)


def add(name: str, provider: Provider, key: str) -> str:
    """Write a provider into the user's file, and keep its key; where, in words. Raises ConfigError."""
    check(name, provider)
    kept = keychain.store(name, key) if key else ""
    try:
        settings.change({"providers": {name: provider.model_dump(exclude_unset=True)}})
    except BaseException:
        keychain.forget(name)
        raise
    return kept


def check(name: str, provider: Provider) -> None:
    """Raises ConfigError for one that there is already, or that no one should have."""
    if name in config.load().providers:
        raise ConfigError(f"There is a provider {name} already. `opta providers remove {name}` removes it.")
    settings.check_provider(name, provider)


def remove(name: str) -> None:
    """Take a provider out of the user's file, and forget its key. Raises ConfigError."""
    known(name)
    settings.change({"providers": {name: None}})
    keychain.forget(name)


def known(name: str) -> None:
    """Raises ConfigError where there is no provider of this name."""
    providers = config.load().providers
    if name not in providers:
        raise ConfigError(f"There is no provider {name!r}. There are: {', '.join(providers) or 'none'}.")
