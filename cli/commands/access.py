"""`opta daemon token` and `opta daemon open`: let another program, or a browser, ask the daemon."""

import re
import webbrowser
from datetime import datetime

import click

from cli.clients import access, launcher
from cli.clients.daemon import Daemon
from cli.output import document, table, warn
from cli.protocol.access import SCOPES, Scope

SCOPE = click.Choice(SCOPES)
UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


class Duration(click.ParamType[int]):
    """A number and a unit, as 30d; its value is in seconds."""

    name = "duration"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = re.fullmatch(r"([1-9]\d{0,5})([mhdw])", value)
        if not found:
            self.fail(f"{value!r} is no duration. Write a number and m, h, d or w: 30d.", param, ctx)
        return int(found[1]) * UNITS[found[2]]


@click.group("token")
def token() -> None:
    """Let other programs ask the daemon, each by a token of its own."""


@token.command()
@click.option(
    "--scope", type=SCOPE, required=True, help="read: look. write: work with sessions. admin: everything."
)
@click.option("--name", required=True, help="Whose it is, as `list` shows it.")
@click.option(
    "--expires", type=Duration(), help="How long it holds: 30d, 12h. Until it is revoked by default."
)
def create(scope: Scope, name: str, expires: int | None) -> None:
    """Make a token and print it, this once."""
    made = access.create(Daemon(launcher.ensure), name, scope, expires)
    click.echo(made.token)
    warn("It is shown this once; send it as `Authorization: Bearer …`.")
    warn(f"To end it: opta daemon token revoke {made.id}")


@token.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def show(as_json: bool) -> None:
    """List the tokens that hold."""
    found = access.tokens(Daemon(launcher.ensure))
    if as_json:
        document([each.model_dump(mode="json") for each in found])
    else:
        rows = ((each.id, each.name, each.scope, day(each.created), day(each.expires)) for each in found)
        table(("ID", "NAME", "SCOPE", "CREATED", "EXPIRES"), rows)


@token.command()
@click.argument("id")
def revoke(id: str) -> None:
    """End a token; what it has open ends with it."""
    access.revoke(Daemon(launcher.ensure), id)
    click.echo(f"The token {id} holds no longer.")


@click.command("open")
@click.option("--scope", type=SCOPE, default="write", show_default=True, help="What the browser may do.")
@click.option("--print", "as_text", is_flag=True, help="Print the URL instead of opening it.")
def browser(scope: Scope, as_text: bool) -> None:
    """Let this machine's browser in: the URL that is opened is good once, for a minute."""
    url = access.invitation(Daemon(launcher.ensure), scope)
    # Other users may see a program's arguments for an instant; a code that one of them used first is
    # used up, and the browser here says so.
    if as_text or not webbrowser.open(url):
        click.echo(url)


def day(moment: datetime | None) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M") if moment else "–"
