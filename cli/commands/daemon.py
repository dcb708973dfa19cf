"""`opta daemon`: start, stop and watch the daemon."""

import time
from pathlib import Path
from typing import BinaryIO

import click

from cli import config
from cli.clients import launcher
from cli.commands import access
from cli.output import Exit, Failure, document
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
    word = "runs already" if running else "started"
    running = running or launcher.start()
    click.echo(f"The daemon {word}: {running.url} (pid {running.health.pid}).")
    wanted = config.load().daemon_port
    if not running.url.endswith(f":{wanted}"):
        click.echo(f"Port {wanted} was held by another program, so it took the next free one.")


@command.command()
def stop() -> None:
    """Stop the daemon; a turn that runs is cut short."""
    pid = launcher.stop()
    click.echo(f"The daemon (pid {pid}) stopped." if pid else "No daemon was running.")


@command.command()
@click.option("--json", "as_json", is_flag=True, help="Print the daemon's own health document.")
def status(as_json: bool) -> Exit:
    """Say whether the daemon runs, and where; exit code 5 when it does not."""
    running = launcher.find()
    if as_json:
        document({"url": running.url, **running.health.model_dump()} if running else None)
    elif running:
        health = running.health
        click.echo(
            f"The daemon runs: {running.url} (pid {health.pid}, version {health.version}), "
            f"up {health.uptime_seconds:.0f} s, {health.active_turns} turns at work."
        )
    else:
        click.echo("The daemon does not run. Start it: opta daemon start")
    return Exit.OK if running else Exit.DAEMON_UNREACHABLE


@command.command()
@click.option("-f", "--follow", is_flag=True, help="Go on printing what is written.")
@click.option("-n", "--lines", default=200, show_default=True, type=click.IntRange(1), help="How many lines.")
def logs(follow: bool, lines: int) -> None:
    """Print the end of the daemon's log."""
    file = state.log_file()
    if not file.exists():
        raise Failure(f"There is no log yet at {file}. Start the daemon: opta daemon start")
    with file.open("rb") as log:
        click.echo(b"\n".join(log.read().splitlines()[-lines:]))
        while follow:
            grow(log, file)


def grow(log: BinaryIO, file: Path) -> None:
    """Print what came since, or wait a moment when nothing did."""
    if more := log.read():
        click.echo(more, nl=False)
    else:
        time.sleep(0.2)


@command.command()
def run() -> None:
    """Run the daemon in the foreground."""
    launcher.become("cli.daemon")
