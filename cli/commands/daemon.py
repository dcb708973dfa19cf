"""`opta daemon`: start, stop, replace and watch the daemon, and have the machine start it."""

import os
import time
from pathlib import Path
from typing import BinaryIO

import click

from cli import config
from cli.clients import installation, launcher, supervisors
from cli.clients.launcher import Running
from cli.commands import access
from cli.output import Exit, Failure, document, note
from cli.protocol import state


@click.group("daemon")
def command() -> None:
    """The process behind every conversation. Commands start it by themselves."""


command.add_command(access.token)
command.add_command(access.browser)


@command.command()
def start() -> None:
    """Start the daemon; one that runs already is left alone."""
    running = launcher.find()
    tell(running or launcher.start(), "runs already" if running else "started")


@command.command()
def stop() -> None:
    """Stop the daemon; a turn that runs is cut short."""
    pid = launcher.stop()
    click.echo(f"The daemon (pid {pid}) stopped." if pid else "No daemon was running.")


@command.command()
@click.option(
    "--wait",
    type=click.FloatRange(0, 600),
    default=launcher.DRAIN_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How long turns that run may go on.",
)
def restart(wait: float) -> None:
    """Start the daemon anew. Turns that run come to their end first, those that wait go on afterwards."""
    running = launcher.find()
    tell(launcher.replace(running, wait, say=note) if running else launcher.start(), "started")


@command.command()
@click.option("--print", "as_text", is_flag=True, help="Print the file instead of writing it.")
def install(as_text: bool) -> None:
    """Have the daemon started at login, and again when it fails: by systemd, launchd, or Windows."""
    if as_text:
        click.echo(installation.text(), nl=False)
        return
    tell(installation.install(click.echo), "is installed, and runs")
    if hint := supervisors.here().hint:
        click.echo(hint)


@command.command()
def uninstall() -> None:
    """Stop the daemon that `install` had started, and take back what it did."""
    if not installation.uninstall(click.echo):
        click.echo("The daemon is not installed. Any opta starts it when it is wanted.")


@command.command()
@click.option("--json", "as_json", is_flag=True, help="Print the daemon's own health document.")
def status(as_json: bool) -> Exit:
    """Say whether the daemon runs, where, and what starts it; exit code 5 when it does not run."""
    running = launcher.find()
    if as_json:
        document(described(running) if running else None)
    elif running:
        health = running.health
        click.echo(
            f"The daemon runs: {running.url} (pid {health.pid}, version {health.version}), "
            f"up {health.uptime_seconds:.0f} s, {health.active_turns} turns at work."
        )
    else:
        click.echo("The daemon does not run. Start it: opta daemon start")
    if not as_json:
        click.echo(installed(running))
    return Exit.OK if running else Exit.DAEMON_UNREACHABLE


def described(running: Running) -> dict[str, object]:
    return {"url": running.url, **running.health.model_dump(), "supervisor": running.supervisor or None}


def installed(running: Running | None) -> str:
    """What starts the daemon, and whether it started this one."""
    supervisor = supervisors.installed()
    if supervisor is None:
        return "It is not installed to start at login: opta daemon install"
    other = "" if not running or running.supervisor else " (this one was started without it)"
    return f"It is installed as a {supervisor.title}: {supervisor.file()}{other}"


def tell(running: Running, word: str) -> None:
    click.echo(f"The daemon {word}: {running.url} (pid {running.health.pid}).")
    wanted = config.load().daemon_port
    if not running.url.endswith(f":{wanted}"):
        click.echo(f"Port {wanted} was held by another program, so it took the next free one.")


@command.command()
@click.option("-f", "--follow", is_flag=True, help="Go on printing what is written.")
@click.option("-n", "--lines", default=200, show_default=True, type=click.IntRange(1), help="How many lines.")
def logs(follow: bool, lines: int) -> None:
    """Print the end of the daemon's log."""
    file = state.log_file()
    if not file.exists():
        raise Failure(f"There is no log yet at {file}. Start the daemon: opta daemon start")
    log: BinaryIO = file.open("rb")
    before = state.rotated_log_file()
    written = (before.read_bytes() if before.exists() else b"") + log.read()
    click.echo(b"\n".join(written.splitlines()[-lines:]))
    while follow:
        log = grow(log, file)


def grow(log: BinaryIO, file: Path) -> BinaryIO:
    """Print what came since, or wait a moment when nothing did; gives the file to go on with."""
    if more := log.read():
        click.echo(more, nl=False)
        return log
    if file.exists() and not os.path.samestat(os.fstat(log.fileno()), file.stat()):
        with log:
            click.echo(log.read(), nl=False)  # what came before the new one was begun
        return file.open("rb")
    time.sleep(0.2)  # a file that grows wakes nobody who reads it
    return log


@command.command()
def run() -> None:
    """Run the daemon in the foreground."""
    launcher.become("cli.daemon")
