"""`opta config`: the settings, where each comes from, and how to change them."""

import os
import sys
from json import dumps
from pathlib import Path

import click

from cli.operations import settings
from cli.output import Exit, Failure, document, note, table, warn
from cli.protocol.settings import Setting

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


@click.group("config", invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> None:
    """The settings as they hold in this folder. Without a command they are listed.

    A KEY is written as in `limits.idle_seconds`. The environment goes before a trusted project's file,
    and that before your own, which is the one that is written to.
    """
    if context.invoked_subcommand is None:
        context.invoke(list_)


@command.command("list")
@as_json_option
def list_(as_json: bool = False) -> None:
    """List every setting, and what says so."""
    show(settings.shown(Path.cwd()).settings, as_json)


@command.command()
@click.argument("key")
@as_json_option
def get(key: str, as_json: bool) -> None:
    """Print a setting; of a table, such as `limits`, all that it has."""
    path = settings.parsed(key)
    found = [each for each in settings.shown(Path.cwd()).settings if begins(each.key, path)]
    if not found:
        raise Failure(f"There is no setting {key}.", Exit.MISUSE, "`opta config list` has those there are.")
    if len(found) > 1 or as_json or settings.parsed(found[0].key) != path:
        show(found, as_json)
    else:
        click.echo(text(found[0].value))


@command.command("set")
@click.argument("key")
@click.argument("value")
def set_(key: str, value: str) -> None:
    """Write a setting into your own file, what else stands there kept.

    \b
    opta config set model qwen3-4b
    opta config set aliases.fast '["qwen3-4b", "claude/MODEL"]'
    """
    write(settings.patch_of(key, value), key)


@command.command()
@click.argument("key")
def unset(key: str) -> None:
    """Take a setting out of your own file: its default holds again."""
    write(settings.nested(settings.parsed(key), None), key)


def write(patch: settings.Patch, key: str) -> None:
    waiting, path = settings.change(patch), settings.parsed(key)
    for each in settings.shown(Path.cwd()).settings:
        if begins(each.key, path) and each.source in ("project", "environment"):
            warn(f"{each.key} is {text(each.value)} here all the same: {each.where} says so.")
    if waiting:
        note("A daemon that runs takes it up at its next start: opta daemon restart")


def begins(key: str, path: tuple[str, ...]) -> bool:
    return settings.parsed(key)[: len(path)] == path


def show(found: list[Setting], as_json: bool) -> None:
    if as_json:
        document([each.model_dump() for each in found])
    else:
        rows = ((each.key, text(each.value), said(each)) for each in found)
        table(("KEY", "VALUE", "FROM"), rows)


def said(setting: Setting) -> str:
    """A person knows his home by its short name."""
    home = str(Path.home())
    short = setting.where.replace(home, "~", 1) if sys.stdout.isatty() and home != os.sep else setting.where
    return short or setting.source


def text(value: object) -> str:
    return value if isinstance(value, str) else dumps(value, ensure_ascii=False)
