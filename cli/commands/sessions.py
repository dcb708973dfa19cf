"""`opta sessions`: the conversations that the daemon keeps."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from cli.clients import launcher
from cli.clients.daemon import Daemon
from cli.output import Exit, Failure, document, note, safe, table
from cli.protocol.sessions import SessionHit, SessionView

# Enough of an id to name a session by.
SHORT = 8
STEPS = (("d", 86400), ("h", 3600), ("min", 60))

Function = TypeVar("Function", bound=Callable[..., Any])
as_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


def filters(command: Function) -> Function:
    """The options that choose sessions, by the names that the daemon has for them."""
    for option in (
        click.option("--archived", is_flag=True, help="Those in the archive."),
        click.option("--all", "everything", is_flag=True, help="Also those in the archive."),
        click.option("--model", help="Those of this model."),
        click.option("--project", metavar="FOLDER", help="Those of this repository's root."),
        click.option("--tag", help="Those with this tag."),
    ):
        command = option(command)
    return command


def chosen(archived: bool, everything: bool, **exact: str | None) -> dict[str, str]:
    """The options as the daemon's query."""
    where = "any" if everything else "true" if archived else "false"
    return {"archived": where, **{name: value for name, value in exact.items() if value is not None}}


@click.group("sessions", invoke_without_command=True)
@as_json_option
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """Keep order among conversations. Without a command they are listed, newest first.

    SESSION is an id, or the beginning of one.
    """
    if context.invoked_subcommand is None:
        show_all(Daemon(launcher.ensure).sessions(), as_json)


@command.command("list")
@filters
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many.")
@as_json_option
def list_(limit: int, as_json: bool, **options: Any) -> None:
    """List conversations, newest first."""
    show_all(Daemon(launcher.ensure).sessions(limit, **chosen(**options)), as_json)


@command.command()
@click.argument("words", nargs=-1, required=True)
@filters
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="At most so many.")
@as_json_option
def search(words: tuple[str, ...], limit: int, as_json: bool, **options: Any) -> None:
    """Find conversations by WORDS in a message or title, best match first.

    A word finds those that begin with it; "several words" in quotes are found in this order.
    """
    hits = Daemon(launcher.ensure).search(" ".join(map(quoted, words)), limit, **chosen(**options))
    if as_json:
        document([hit.model_dump(mode="json") for hit in hits])
    elif hits:
        table(("ID", "TITLE", "FOUND"), map(found_row, hits))
    else:
        raise Failure("No conversation has all these words in one place.", Exit.ERROR, "Try fewer, or --all.")


def quoted(word: str) -> str:
    """What the shell passes as one argument stays together."""
    return f'"{word}"' if " " in word and '"' not in word else word


@command.command()
@click.argument("session")
@as_json_option
def show(session: str, as_json: bool) -> None:
    """Print a conversation."""
    daemon = Daemon(launcher.ensure)
    found = daemon.session(daemon.resolve(session))
    if as_json:
        document(found.model_dump(mode="json"))
        return
    for message in found.messages:
        click.secho(f"{message.role}:", bold=True)
        click.echo(safe(message.content) + "\n")


@command.command()
@click.argument("session")
@click.argument("title")
@as_json_option
def rename(session: str, title: str, as_json: bool) -> None:
    """Give a conversation a TITLE."""
    daemon = Daemon(launcher.ensure)
    tell(daemon.update(daemon.resolve(session), title=title), f"It is called {title} now.", as_json)


@command.command()
@click.argument("session")
@click.argument("tags", nargs=-1)
@click.option("-d", "--remove", multiple=True, metavar="TAG", help="Take this tag away; may be repeated.")
@as_json_option
def tag(session: str, tags: tuple[str, ...], remove: tuple[str, ...], as_json: bool) -> None:
    """Add TAGS to a conversation, or take some away."""
    if not tags and not remove:
        raise click.UsageError("Name the tags to add, or those to take away with --remove.")
    daemon = Daemon(launcher.ensure)
    before = daemon.session(daemon.resolve(session))
    wanted = [name for name in dict.fromkeys([*before.tags, *tags]) if name not in remove]
    view = daemon.update(before.id, tags=wanted)
    tell(view, f"Its tags: {', '.join(view.tags) or 'none'}.", as_json)


@command.command()
@click.argument("session")
@click.option("--turn", help="The last turn to keep; all that have ended by default.")
@click.option("--title", help="The title of the new conversation; the same by default.")
@as_json_option
def fork(session: str, turn: str | None, title: str | None, as_json: bool) -> None:
    """Begin a new conversation with the past of another. Prints its id."""
    daemon = Daemon(launcher.ensure)
    view = daemon.fork(daemon.resolve(session), turn=turn, title=title)
    if as_json:
        document(view.model_dump(mode="json"))
    else:
        click.echo(view.id)
        note(f"Go on with `opta chat --resume {view.id[:SHORT]}`.")


@command.command()
@click.argument("sessions", nargs=-1, required=True, metavar="SESSION...")
@click.option("--undo", is_flag=True, help="Take them back from the archive.")
@as_json_option
def archive(sessions: tuple[str, ...], undo: bool, as_json: bool) -> None:
    """Put conversations out of the list, and keep them."""
    daemon = Daemon(launcher.ensure)
    views = [daemon.update(id, archived=not undo) for id in [*map(daemon.resolve, sessions)]]
    if as_json:
        document([view.model_dump(mode="json") for view in views])
    elif not undo:
        note("`opta sessions list --archived` has them.")


@command.command()
@click.argument("sessions", nargs=-1, required=True, metavar="SESSION...")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@as_json_option
def delete(sessions: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Delete conversations for good, with all their messages."""
    daemon = Daemon(launcher.ensure)
    found = [daemon.session(id) for id in dict.fromkeys(map(daemon.resolve, sessions))]
    if not yes:
        confirm([safe(view.title or view.id) for view in found])
    for view in found:
        daemon.delete(view.id)
    if as_json:
        document([view.id for view in found])


def confirm(titles: list[str]) -> None:
    """Ask whoever watches. Raises Failure where nobody does, and Abort when the answer is no."""
    if not sys.stdin.isatty():
        raise Failure("Nobody is here to confirm that.", Exit.MISUSE, "Say --yes, or --help for more.")
    click.confirm(f"Delete {', '.join(titles)} for good?", abort=True, err=True)


@command.command()
@click.argument("session")
@click.option("--json", "as_json", is_flag=True, help="With every event, as one JSON document.")
def export(session: str, as_json: bool) -> None:
    """Print a conversation as Markdown, to keep or to pass on."""
    daemon = Daemon(launcher.ensure)
    text = daemon.export(daemon.resolve(session), "json" if as_json else "md").decode()
    click.echo(safe(text) if sys.stdout.isatty() else text, nl=False)


def tell(view: SessionView, message: str, as_json: bool) -> None:
    """What a changed session is like now: all of it for a script, a word for a person."""
    if as_json:
        document(view.model_dump(mode="json"))
    else:
        note(message)


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


def found_row(hit: SessionHit) -> tuple[object, ...]:
    id = hit.session.id[:SHORT] if sys.stdout.isatty() else hit.session.id
    return id, hit.session.title or "–", " ".join(hit.snippet.split())


def age(then: datetime, now: datetime) -> str:
    """How long ago, in its biggest unit: `3 h ago`."""
    seconds = (now - then).total_seconds()
    found = next(((unit, size) for unit, size in STEPS if seconds >= size), None)
    return f"{seconds // found[1]:.0f} {found[0]} ago" if found else "just now"
