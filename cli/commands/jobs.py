"""`opta jobs`: commands that the daemon runs in the background of a session."""

import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from cli.clients import jobs, launcher
from cli.clients.daemon import Daemon
from cli.commands.sessions import SHORT, age, as_json_option
from cli.commands.turns import FOLDER, open_session, session_here
from cli.output import Exit, Failure, document, note, safe, table, warn
from cli.protocol.jobs import SIGNALS, JobView, SignalName

# How long a job that is told to stop may take.
STOP_SECONDS = 8
# Enough of a command to know it by.
COMMAND_CHARS = 60


@click.group("jobs")
def command() -> None:
    """Run commands in the background of a session."""


@command.command("list")
@click.option("--session", help="Those of one session.")
@click.option("--all", "everything", is_flag=True, help="Also those that have ended.")
@as_json_option
def show(session: str | None, everything: bool, as_json: bool) -> None:
    """List the jobs that run."""
    daemon = Daemon(launcher.ensure)
    asked = {} if everything else {"status": "running"}
    found = jobs.jobs(daemon, **asked, **({"session": daemon.resolve(session)} if session else {}))
    if as_json:
        document([job.model_dump(mode="json") for job in found])
    else:
        table(("ID", "STATUS", "STARTED", "COMMAND", "FOLDER"), map(row, found))


# What stands behind the command's name is the command's.
@command.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("words", nargs=-1, required=True, metavar="COMMAND...", type=click.UNPROCESSED)
@click.option("--session", help="The session it belongs to; the last one of this folder by default.")
@click.option("--cwd", type=FOLDER, help="Where it runs, within the session's folder.")
@click.option("--label", default="", help="What to call it.")
@click.option("--env", "env", multiple=True, metavar="NAME=VALUE", help="Add to its environment.")
@as_json_option
def start(words: tuple[str, ...], session: str | None, cwd: Path | None, **options: Any) -> None:
    """Start COMMAND and print the job's id.

    One argument is a line for the shell; several are a program and its arguments.
    """
    daemon = Daemon(launcher.ensure)
    what: dict[str, Any] = {"line": words[0]} if len(words) == 1 else {"command": list(words)}
    where = daemon.resolve(session) if session else session_here(daemon) or open_session(daemon, None, None)
    if cwd:
        what["cwd"] = str(cwd)
    env = dict(map(variable, options["env"]))
    job = jobs.start(daemon, session=where, label=options["label"], env=env, **what)
    if options["as_json"]:
        document(job.model_dump(mode="json"))
    else:
        click.echo(job.id)
        note(f"`opta jobs logs --follow {job.id[:SHORT]}` shows what it writes.")


@command.command()
@click.argument("id")
@click.option("-f", "--follow", is_flag=True, help="Go on until it ends, and exit as it did.")
def logs(id: str, follow: bool) -> int:
    """Print what a job wrote."""
    daemon = Daemon(launcher.ensure)
    told = 0
    for page in jobs.output(daemon, jobs.resolve(daemon, id), follow=follow):
        if page.start > told:
            warn(f"({page.start - told} bytes before this are kept no longer.)")
        told = page.next
        click.echo(safe(page.text) if sys.stdout.isatty() else page.text, nl=False)
    if not follow:
        return Exit.OK
    note(ending(page.job))
    return Exit.ERROR if page.job.code is None else page.job.code


@command.command()
@click.argument("id")
@click.option("--signal", "name", type=click.Choice(SIGNALS), default="term", show_default=True)
@as_json_option
def stop(id: str, name: SignalName, as_json: bool) -> None:
    """Stop a job, with all that it started."""
    daemon = Daemon(launcher.ensure)
    found = jobs.resolve(daemon, id)
    jobs.signal(daemon, found, name)
    job = jobs.ended(daemon, found, STOP_SECONDS)
    if job.status == "running":
        message = f"The job {found[:SHORT]} goes on after {STOP_SECONDS} s."
        raise Failure(message, Exit.ERROR, f"opta jobs stop --signal kill {found[:SHORT]}")
    if as_json:
        document(job.model_dump(mode="json"))
    else:
        click.echo(ending(job))


@command.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
def remove(ids: tuple[str, ...]) -> None:
    """Take away jobs that have ended, with what they wrote."""
    daemon = Daemon(launcher.ensure)
    for id in [jobs.resolve(daemon, each) for each in ids]:
        jobs.remove(daemon, id)


def variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"--env: {text!r} is not NAME=VALUE.")
    return name, value


def ending(job: JobView) -> str:
    how = {"exited": f"exited with {job.code}", "killed": f"was ended by {job.signal}"}
    return f"The job {job.id[:SHORT]} {how.get(job.status, 'is lost: how it ended is not known')}."


def row(job: JobView) -> tuple[object, ...]:
    """A person wants what fits and how long ago; a script the whole id and the time."""
    how = {"exited": f"exited {job.code}", "killed": job.signal}.get(job.status) or job.status
    line = job.label or (job.command[2] if job.command[:2] == ["/bin/sh", "-c"] else shlex.join(job.command))
    if not sys.stdout.isatty():
        return job.id, how, job.created.isoformat(), line, job.cwd
    short = line if len(line) <= COMMAND_CHARS else f"{line[: COMMAND_CHARS - 1]}…"
    return job.id[:SHORT], how, age(job.created, datetime.now(UTC)), short, job.cwd
