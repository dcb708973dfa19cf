"""The folder a command works in: what it brings is asked about once, and said when it is held back."""

import shlex
import sys
from pathlib import Path

import click

from cli import trust
from cli.output import safe, warn


def ask(cwd: Path) -> None:
    """On a terminal, ask once whether to trust a folder that brings something to `cwd`."""
    held = trust.unused(cwd)
    if not held or trust.nearest(held[0].parent) or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    folder = held[0].parent
    click.echo(safe(f"{folder} decides how the model works here: {names(held)}."), err=True)
    if click.confirm("Do you trust this folder, and all below it?", err=True):
        trust.grant(folder)
    else:
        trust.refuse(folder)


def mention(cwd: Path) -> None:
    """One line on standard error when something is not used for lack of trust, and what to type."""
    if held := trust.unused(cwd):
        said = f"Not used, for the folder is not trusted: {names(held)}."
        warn(f"{said} To use it: opta trust {shlex.quote(str(held[0].parent))}")


def names(held: list[Path]) -> str:
    return ", ".join(map(str, held))
