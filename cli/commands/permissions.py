"""`opta permissions`: rules for what tools may do, and answers to those that wait to be allowed."""

import sys
from json import dumps
from pathlib import Path

import click

from cli.clients import launcher, permissions
from cli.clients.daemon import Daemon
from cli.commands.sessions import SHORT, as_json_option
from cli.commands.turns import open_session, session_here
from cli.output import Exit, Failure, document, note, safe, table
from cli.protocol.permissions import ACTIONS, SCOPES, Action, RequestView, RuleScope
from cli.protocol.socket import DECISIONS, REMEMBERED, Decision, Remember

session_option = click.option("--session", help="The session; the last one of this folder by default.")


@click.group("permissions")
def command() -> None:
    """Say what tools may do unasked, what is to be asked for, and what never.

    A rule names a tool, and in brackets what it is about: a path, or a command.

    \b
    opta permissions add deny 'read_file(~/secret/**)'
    opta permissions add ask '*(.env)'
    opta permissions add allow 'run_command(git *)' --scope project

    Deny wins over ask, and ask over allow. A line of a shell is allowed when each command in it is,
    or only reads; a command is denied wherever in a line it stands. `opta permissions test 'make; ls'`
    says what would happen.
    """


@command.command("list")
@session_option
@as_json_option
def show(session: str | None, as_json: bool) -> None:
    """List the rules that hold in a session."""
    daemon = Daemon(launcher.ensure)
    found = permissions.rules(daemon, chosen(daemon, session))
    if as_json:
        document([rule.model_dump(mode="json") for rule in found])
    else:
        rows = ((rule.id, rule.action, rule.pattern, rule.scope, rule.where) for rule in found)
        table(("ID", "SAYS", "OF", "SCOPE", "KEPT IN"), rows)


@command.command()
@click.argument("action", type=click.Choice(ACTIONS))
@click.argument("pattern")
@click.option(
    "--scope",
    type=click.Choice(SCOPES),
    default="user",
    show_default=True,
    help="Where it holds: everywhere, in this folder's project, in one session.",
)
@session_option
@as_json_option
def add(action: Action, pattern: str, scope: RuleScope, session: str | None, as_json: bool) -> None:
    """Add a rule; it holds at once."""
    daemon = Daemon(launcher.ensure)
    where = None if scope == "user" else chosen(daemon, session) or open_session(daemon, None, None)
    rule = permissions.add(daemon, action, pattern, scope, where)
    if as_json:
        document(rule.model_dump(mode="json"))
    else:
        click.echo(rule.id)
        note(f"It is kept in {rule.where}.")


@command.command()
@click.argument("id")
@session_option
def remove(id: str, session: str | None) -> None:
    """Take a rule away, by its id in the list."""
    daemon = Daemon(launcher.ensure)
    permissions.remove(daemon, id, chosen(daemon, session))


@command.command("test")
@click.argument("line", metavar="COMMAND")
@session_option
@as_json_option
def attempt(line: str, session: str | None, as_json: bool) -> None:
    """Say whether a shell command would run, and why; it is not run."""
    from cli.agent.policy import Call, decide, explained, rule  # the table of tools with it

    daemon = Daemon(launcher.ensure)
    where = chosen(daemon, session)
    mode = daemon.session(where).mode if where else "chat"
    found = permissions.rules(daemon, where)
    rules = [rule(each.action, each.pattern, each.scope, each.where, Path.cwd()) for each in found]
    call = Call("run_command", True, "command", line)
    action, _, reason = decide(mode, rules, call)
    each = explained(rules, call)
    if as_json:
        runs = [{"command": ran, "allowed_by": why} for ran, why in each]
        document({"action": action, "reason": reason, "mode": mode, "commands": runs})
    else:
        click.echo(safe(f"{action}: {reason}"))
        table(("RUNS", "ALLOWED BY"), ((ran, why or "nothing") for ran, why in each))


@command.command()
@as_json_option
def requests(as_json: bool) -> None:
    """List the calls that wait to be allowed."""
    found = permissions.requests(Daemon(launcher.ensure))
    if as_json:
        document([request.model_dump(mode="json") for request in found])
    else:
        table(("ID", "SESSION", "TOOL", "ARGUMENTS", "WHY"), map(row, found))


@command.command()
@click.argument("id")
@click.argument("decision", type=click.Choice(DECISIONS))
@click.option("--remember", type=click.Choice(REMEMBERED), default="once", show_default=True)
@click.option("--message", default="", help="What the model reads of a denial.")
def answer(id: str, decision: Decision, remember: Remember, message: str) -> None:
    """Allow or deny a call that waits; ID is the beginning of its id."""
    daemon = Daemon(launcher.ensure)
    found = [request for request in permissions.requests(daemon) if request.id.startswith(id)]
    if len(found) != 1:
        said = f"{len(found) or 'No'} request{'s begin' if found else ' that waits begins'} with {id!r}."
        raise Failure(said, Exit.ERROR, "`opta permissions requests` lists them.")
    permissions.answer(daemon, found[0].session, found[0].id, decision, remember, message=message)


@command.command()
def sandbox() -> None:
    """Say what holds on this machine of every command that a model runs, and what does not."""
    from cli.sandbox.box import guarantees  # what asks the kernel takes 20 ms to import

    for sentence in guarantees():
        click.echo(sentence)


def chosen(daemon: Daemon, session: str | None) -> str | None:
    """The session that is named, or the one used last in this folder where there is one."""
    return daemon.resolve(session) if session else session_here(daemon)


def row(request: RequestView) -> tuple[str, ...]:
    arguments = dumps(request.arguments, ensure_ascii=False)
    short = sys.stdout.isatty()
    ids = [each[:SHORT] if short else each for each in (request.id, request.session)]
    return (*ids, request.name, arguments, request.reason)
