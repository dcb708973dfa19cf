"""The user's settings and providers: as the daemon has them, and changed in the user's file."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, ParamSpec, TypeVar

from django.http import HttpRequest
from ninja import Query, Router
from ninja.responses import Status

from cli import config
from cli.config import ConfigError
from cli.operations import providers, settings
from cli.operations.changes import Change
from cli.operations.providers import ProviderCreate
from cli.protocol.settings import SettingList, SettingsQuery
from opta.errors import Refusal

P = ParamSpec("P")
T = TypeVar("T")

router = Router()


@router.get("config", response=SettingList)
async def list_settings(request: HttpRequest, query: Annotated[SettingsQuery, Query()]) -> SettingList:
    """Every setting with where it came from; keys of providers are in the keychain, and never here."""
    return await asking(shown, query.cwd)


@router.patch("config", response=SettingList)
async def change_settings(request: HttpRequest, body: Change) -> SettingList:
    """Write a merge patch (RFC 7396) into the user's file; null takes a key back to its default.

    It holds from the next request on, but for the keys that the answer's `restart` names.
    """
    patch = body.model_dump(mode="json", exclude_unset=True)
    if not patch:
        raise Refusal(f"Nothing to change: give {', '.join(config.Config.model_fields)}.", field="body")
    restart = await asking(settings.change, patch)
    return (await asking(shown, None)).model_copy(update={"restart": restart})


@router.post("providers", response={204: None})
async def add_provider(request: HttpRequest, body: ProviderCreate) -> Status[None]:
    await asking(providers.add, body.name, body.provider, body.key)
    return Status(204, None)


@router.delete("providers/{name}", response={204: None})
async def remove_provider(request: HttpRequest, name: str) -> Status[None]:
    await asking(providers.remove, name)
    return Status(204, None)


def shown(cwd: str | None) -> SettingList:
    """Raises Refusal for a folder that is none."""
    if cwd and not os.path.isdir(cwd):
        raise Refusal(f"cwd: {cwd} is not a folder on this machine.", field="cwd")
    return settings.shown(Path(cwd) if cwd else None)


async def asking(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """A function that reads and writes files, away from the event loop. Raises Refusal."""
    try:
        return await asyncio.to_thread(function, *args, **kwargs)
    except settings.BrokenFile as error:
        raise Refusal(str(error), status=409, code="config_broken") from error
    except ConfigError as error:
        raise Refusal(str(error), code="invalid_config") from error
    except OSError as error:
        message = f"{config.user_file()} could not be written: {error.strerror}. Nothing was changed."
        raise Refusal(message, status=507, code="storage_failed") from error
