"""What a command tells its caller besides the answer: the exit code, a failure in one line, tables, JSON."""

import json
import sys
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Any

import click


class Exit(IntEnum):
    """The exit codes of `opta`; a script may rely on them."""

    OK = 0
    ERROR = 1
    MISUSE = 2
    NO_MODEL = 3
    LMX_UNREACHABLE = 4
    DAEMON_UNREACHABLE = 5
    NOT_PERMITTED = 77
    INTERRUPTED = 130
    NOBODY_READS = 141


MEANINGS = {
    Exit.OK: "done",
    Exit.ERROR: "something failed; standard error says what",
    Exit.MISUSE: "the command line or its input is wrong",
    Exit.NO_MODEL: "there is no such model, or none at all",
    Exit.LMX_UNREACHABLE: "LMX, the inference server, does not answer",
    Exit.DAEMON_UNREACHABLE: "the daemon does not answer and could not be started",
    Exit.NOT_PERMITTED: "not permitted",
    Exit.INTERRUPTED: "interrupted by Ctrl-C",
    Exit.NOBODY_READS: "the reader of the output went away (as in `| head`)",
}

# click folds the lines of an epilog unless \b stands before them.
EXIT_TABLE = "\b\nExit codes:\n" + "\n".join(f"  {code.value:>3}  {text}" for code, text in MEANINGS.items())

# A terminal acts on control characters; an answer of a model must not be able to drive it.
CONTROLS = {code: None for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}


class Failure(Exception):
    """A command ends early: `message` says what happened, to which thing, and `hint` what to do next."""

    def __init__(self, message: str, code: Exit = Exit.ERROR, hint: str = "") -> None:
        super().__init__(f"{message} {hint}".strip())
        self.message = message
        self.code = code
        self.hint = hint


def safe(text: str) -> str:
    """`text` without the characters that would move the cursor, ring, or write to the clipboard."""
    return text.translate(CONTROLS)


def note(message: str) -> None:
    """A word about progress for a person who watches; a script's standard error stays empty."""
    if sys.stderr.isatty():
        click.secho(safe(message), err=True, dim=True)


def warn(message: str) -> None:
    """A line that also a script's log should have."""
    click.echo(safe(message), err=True)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """On a terminal a table of its width; piped, one line a row, parts divided by tabs, no head."""
    cells = [[safe(str(cell)) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for row in cells:
            click.echo("\t".join(" ".join(cell.split()) for cell in row))
        return
    draw(head, cells)


def draw(head: Sequence[str], cells: list[list[str]]) -> None:
    from rich.console import Console  # 70 ms that only a table on a terminal costs
    from rich.table import Table

    grid = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in head:
        grid.add_column(name, overflow="fold")
    for row in cells:
        grid.add_row(*row)
    Console(highlight=False, markup=False).print(grid)


def document(value: Any) -> None:
    """One JSON document on standard output."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))
