"""A turn as a command runs it: its text as it grows, Ctrl-C, and the exit code of its end."""

import contextlib
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import click

from cli import config
from cli.clients.daemon import Daemon
from cli.commands import workspace
from cli.commands.passing import Passing
from cli.output import Exit, Failure, note, safe
from cli.protocol.events import (
    AnyBody,
    ContextCompacted,
    ContextWarning,
    Event,
    ToolDone,
    ToolStarted,
    TurnDone,
    TurnFailed,
    TurnStopped,
)
from cli.protocol.prose import Prose

# What a reason of `turn.failed` means to a script.
CODES = {"lmx_unreachable": Exit.LMX_UNREACHABLE, "model_not_found": Exit.NO_MODEL}
# Characters of a line that tells of a tool call: the event log has all of it.
ASIDE = 120
FOLDER = click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path)


def aside(body: AnyBody) -> str:
    """What is told in one quiet line: that a tool runs or failed, what was left out; "" of all else."""
    match body:
        case ToolStarted(name=name, arguments=given):
            words = (f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in given.items())
            line = " ".join(["·", name, *words])
        case ToolDone(name=name, ok=False, result=result):
            line = f"· {name} failed: {' '.join(result.split())}"
        case ContextCompacted(before=before, after=after):
            line = f"· shortened what was said before, to fit the window: {before} → {after} tokens"
        case ContextWarning(message=message):
            return f"· {message}"
        case _:
            return ""
    return line if len(line) <= ASIDE else f"{line[: ASIDE - 1]}…"


class Text:
    """The answer as it comes; on a terminal without the characters that would drive it."""

    def __init__(self) -> None:
        self.prose = Prose()
        self.passing = Passing()
        self.written = ""

    def show(self, event: Event) -> None:
        self.passing.show(event.event)
        if line := aside(event.event):
            if sys.stdout.isatty():
                self.close()
            note(line)
        self.write(self.prose.feed(event.event))
        if isinstance(event.event, TurnDone) and event.event.finish_reason == "length":
            note("The answer stops at the limit of tokens.")

    def write(self, text: str) -> None:
        if text:
            sys.stdout.write(safe(text) if sys.stdout.isatty() else text)
            sys.stdout.flush()
            self.written = text

    def close(self) -> None:
        """A shell's prompt belongs on a line of its own."""
        if self.written and not self.written.endswith("\n"):
            self.write("\n")


@contextlib.contextmanager
def cancelling(cancel: Callable[[], None], *signals: int) -> Iterator[threading.Event]:
    """Meanwhile Ctrl-C (and `signals`) asks the daemon to cancel, and the turn's events end by themselves.

    No exception tears the reading of events; only a second Ctrl-C leaves at once. Gives the event to set
    when the turn is submitted: what the daemon does not have yet it cannot cancel.
    """
    came: list[int] = []
    submitted = threading.Event()

    def ask() -> None:
        submitted.wait()
        # When the daemon is gone there is nothing to cancel, and whoever follows the turn says so.
        with contextlib.suppress(Failure):
            cancel()

    def handle(signum: int, frame: FrameType | None) -> None:
        came.append(signum)
        if len(came) > 1:
            raise KeyboardInterrupt
        threading.Thread(target=ask, daemon=True).start()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, *signals)}
    try:
        yield submitted
    finally:
        submitted.set()
        for number, handler in before.items():
            signal.signal(number, handler)


def failure(body: TurnFailed | TurnStopped) -> Failure:
    code = CODES.get(body.code, Exit.ERROR) if isinstance(body, TurnFailed) else Exit.ERROR
    return Failure(body.message, code, body.hint)


def session_here(daemon: Daemon) -> str | None:
    """The session that was used last in this folder."""
    found = daemon.sessions(1, cwd=str(Path.cwd()))
    return found[0].id if found else None


def open_session(daemon: Daemon, cwd: Path | None, model: str | None, system: str = "") -> str:
    """The id of a new session in `cwd` (here by default), with the model the user chose for it."""
    folder = cwd or Path.cwd()
    workspace.mention(folder)
    chosen = config.load(folder, model=model).model
    return daemon.create(cwd=str(folder), model=chosen, system=system).id
