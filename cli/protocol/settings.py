"""The user's settings as a client sees them: each with where it came from."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field


class Setting(BaseModel):
    """`key` is TOML's dotted key, as in `limits.idle_seconds`; `value` is what holds.

    `where` is the file or the variable of the environment that says so; empty for a default. A setting
    with `restart` takes effect when the daemon is started the next time.
    """

    key: str
    value: Any
    source: Literal["default", "file", "project", "environment"]
    where: str
    restart: bool


class SettingList(BaseModel):
    """`file` is the user's own, which is the one that is written to.

    `restart` are the keys that were changed just now and wait for the daemon's next start.
    """

    file: str
    settings: list[Setting]
    restart: list[str] = []


class SettingsQuery(BaseModel):
    """With `cwd`, what holds in that folder: a project that is trusted may say how to work in it."""

    cwd: Annotated[str, Field(max_length=4096, pattern=r"^/[^\x00]*$")] | None = None
