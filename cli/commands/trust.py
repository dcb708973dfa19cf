"""`opta trust`: which folders may say how work in them is done."""

from pathlib import Path

import click

from cli import trust
from cli.commands.turns import FOLDER
from cli.output import Exit, Failure, document, safe, table


@click.command("trust")
@click.argument("path", type=FOLDER, required=False)
@click.option("--list", "as_list", is_flag=True, help="List the folders that were decided on.")
@click.option("--revoke", is_flag=True, help="Trust the folder no longer.")
@click.option("--json", "as_json", is_flag=True, help="With --list: print one JSON document.")
def command(path: Path | None, *, as_list: bool, revoke: bool, as_json: bool) -> None:
    """Let what a project brings take effect: its .opta folder, AGENTS.md and OPTA.md.

    PATH is this folder by default; all folders below it are trusted with it.
    """
    if as_list and (path or revoke):
        raise click.UsageError("--list stands alone.")
    if as_json and not as_list:
        raise click.UsageError("--json is for --list.")
    if as_list:
        show(as_json)
    elif revoke:
        click.echo(f"{safe(str(trust.refuse(path or Path.cwd())))} is not trusted.")
    else:
        allow(path or Path.cwd())


def show(as_json: bool) -> None:
    found = trust.decisions()
    if as_json:
        document([vars(decision) for decision in found])
    else:
        rows = ((each.folder, "yes" if each.trusted else "no", each.decided) for each in found)
        table(("FOLDER", "TRUSTED", "DECIDED"), rows)


def allow(folder: Path) -> None:
    try:
        here = trust.grant(folder)
    except trust.TooWide as error:
        hint = "Trust a project's own folder: opta trust PATH"
        raise Failure(str(error), Exit.NOT_PERMITTED, hint) from error
    click.echo(f"{safe(str(here))} is trusted, and all below it. `opta trust --revoke` takes it back.")
