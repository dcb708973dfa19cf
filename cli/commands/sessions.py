"""`opta sessions`: the conversations that the daemon keeps."""

import sys
from datetime import UTC, datetime

import click

from cli.clients import launcher
from cli.clients.daemon import Daemon
from cli.output import document, safe, table
from cli.protocol.requests import SessionView

# Enough of an id to name a session by.
SHORT = 8
STEPS = (("d", 86400), ("h", 3600), ("min", 60))


@click.group("sessions", invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """List conversations, newest first."""
    if context.invoked_subcommand is None:
        show_all(Daemon(launcher.ensure).sessions(), as_json)


def show_all(sessions: list[SessionView], as_json: bool) -> None:
    if as_json:
        document([session.model_dump(mode="json") for session in sessions])
    else:
        table(("ID", "TITLE", "TURNS", "CHANGED", "FOLDER"), map(row, sessions))


def row(session: SessionView) -> tuple[object, ...]:
    """A person wants what fits and how long ago; a script the whole id and the time."""
    title = session.title or "–"
    if sys.stdout.isatty():
        changed = age(session.updated, datetime.now(UTC))
        return session.id[:SHORT], title, session.turns, changed, session.cwd
    return session.id, title, session.turns, session.updated.isoformat(), session.cwd


def age(then: datetime, now: datetime) -> str:
    """How long ago, in its biggest unit: `3 h ago`."""
    seconds = (now - then).total_seconds()
    found = next(((unit, size) for unit, size in STEPS if seconds >= size), None)
    return f"{seconds // found[1]:.0f} {found[0]} ago" if found else "just now"


@command.command()
@click.argument("session")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def show(session: str, as_json: bool) -> None:
    """Print a conversation. SESSION is its id, or the beginning of it."""
    daemon = Daemon(launcher.ensure)
    found = daemon.session(daemon.resolve(session))
    if as_json:
        document(found.model_dump(mode="json"))
        return
    for message in found.messages:
        click.secho(f"{message.role}:", bold=True)
        click.echo(safe(message.content) + "\n")
