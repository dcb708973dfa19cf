"""What passes before an answer: how far its prompt is read, and what the model thinks."""

import sys

import click

from cli.output import safe
from cli.protocol.events import AnyBody, ReasoningDelta, ReasoningDone, TurnProgress

# Back to the beginning of the line, and nothing left on it.
ERASE = "\r\x1b[2K"


class Passing:
    """For a person who watches, on standard error; a script's stays empty."""

    def __init__(self) -> None:
        self.watched = sys.stderr.isatty()
        self.status = self.thinking = False

    def show(self, body: AnyBody) -> None:
        if not self.watched:
            return
        if self.status:
            click.echo(ERASE, nl=False, err=True)
        self.status = isinstance(body, TurnProgress)
        match body:
            case TurnProgress():
                click.secho(reading(body), nl=False, err=True, dim=True)
            case ReasoningDelta(text=text):
                self.thinking = True
                click.secho(safe(text), nl=False, err=True, dim=True)
            case ReasoningDone(text=text):
                # Who came late has seen none of it.
                click.secho("\n" if self.thinking else f"{safe(text)}\n", err=True, dim=True)
                self.thinking = False


def reading(body: TurnProgress) -> str:
    match body.work:
        case "waiting":
            return "the model's server is at work"
        case "summarising":
            return f"shortening the conversation to fit the window {body.done}/{body.total}"
        case "reading":
            return f"reading {body.done}/{body.total} tokens"
