"""`opta do`: one question, its answer on standard output, and nothing else there."""

import json
import os
import signal
import sys
from functools import partial
from pathlib import Path

import click

from cli.clients import launcher
from cli.clients.daemon import Daemon, checked, new_id
from cli.commands.turns import FOLDER, Text, cancelling, failure, open_session
from cli.output import EXIT_TABLE, Exit, Failure
from cli.protocol.events import VERSION, Event, TurnCancelled, TurnFailed, TurnStopped
from cli.protocol.requests import TurnSubmit


@click.command("do", epilog=EXIT_TABLE)
@click.argument("words", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print every event as one line of JSON.")
@click.option("-m", "--model", help="The model to ask; the session's own, or the first loaded, by default.")
@click.option("-s", "--session", help="Continue this session instead of opening a new one.")
@click.option("--system", help="The system prompt of the new session.")
@click.option("--cwd", type=FOLDER, help="The working directory of the new session; this one by default.")
def command(
    words: tuple[str, ...],
    *,
    as_json: bool,
    model: str | None,
    session: str | None,
    system: str | None,
    cwd: Path | None,
) -> Exit:
    """Ask once. WORDS are joined to the prompt; what is piped in is added as context.

    \b
    opta do "why is the sky blue?"
    git diff | opta do "write a commit message"
    """
    if session and (system is not None or cwd):
        raise click.UsageError(
            "--system and --cwd are for a new session; --session continues one that has both."
        )
    prompt = compose(" ".join(words).strip(), piped())
    checked(TurnSubmit, text=prompt)  # before a session is opened for it
    daemon = Daemon(launcher.ensure)
    target = daemon.resolve(session) if session else open_session(daemon, cwd, model, system or "")
    show = Lines(target) if as_json else Text()
    return run(daemon, target, prompt, model if session else None, show)


def piped() -> str:
    """What stands in standard input, when that is not the keyboard."""
    if sys.stdin is None or sys.stdin.isatty():
        return ""
    try:
        return sys.stdin.buffer.read().decode().strip("\n")
    except UnicodeDecodeError as error:
        raise Failure(
            f"Standard input is not UTF-8 text: {error.reason} at byte {error.start}.", Exit.MISUSE
        ) from error


def compose(prompt: str, context: str) -> str:
    """The prompt with its context behind a delimiter; either alone is the prompt."""
    if not prompt and not context.strip():
        raise click.UsageError('The prompt is empty. Write what to ask: opta do "…", or pipe it in.')
    if not prompt or not context.strip():
        return prompt or context
    return f"{prompt}\n\n<stdin>\n{context}\n</stdin>"


class Lines:
    """Every event as one line of JSON: the daemon's own event, with the version and the session."""

    def __init__(self, session: str) -> None:
        self.session = session

    def show(self, event: Event) -> None:
        line = {"v": VERSION, "session": self.session, **event.model_dump(mode="json")}
        sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
        sys.stdout.flush()

    def close(self) -> None:
        """Every line ended already."""


def run(daemon: Daemon, session: str, prompt: str, model: str | None, show: Text | Lines) -> Exit:
    turn = new_id()
    # Under nohup it goes on when its terminal is closed.
    ends = [each for each in (signal.SIGHUP, signal.SIGTERM) if signal.getsignal(each) is not signal.SIG_IGN]
    with cancelling(partial(daemon.cancel, session, turn), *ends) as submitted:
        view = daemon.submit(session, prompt, turn=turn, model=model)
        submitted.set()
        try:
            for event in daemon.follow(session, view):
                show.show(event)
            show.close()
        except OSError as error:  # nobody reads it, or a full disk should keep it
            daemon.cancel(session, turn)
            # What is still in the buffer goes nowhere, or Python would complain on its way out.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if isinstance(error, BrokenPipeError):
                return Exit.NOBODY_READS
            raise
    if isinstance(event.event, TurnFailed | TurnStopped):
        raise failure(event.event)
    return Exit.INTERRUPTED if isinstance(event.event, TurnCancelled) else Exit.OK
