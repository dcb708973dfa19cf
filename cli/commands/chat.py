"""`opta chat`: a conversation in the terminal, through the daemon."""

import itertools
import re
import sys
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape

from cli import config
from cli.clients import launcher, permissions
from cli.clients.daemon import Daemon, new_id
from cli.commands import slashes, workspace
from cli.commands.asking import Asking
from cli.commands.keyboard import ask, silent
from cli.commands.markdown import LiveMarkdown
from cli.commands.passing import reading
from cli.commands.turns import FOLDER, Text, aside, cancelling, failure, open_session
from cli.operations.slashes import SLASHES
from cli.output import Exit, Failure, note, safe
from cli.protocol.events import (
    AnyBody,
    Event,
    PermissionRequest,
    PermissionResolved,
    ReasoningDelta,
    ReasoningDone,
    TurnCancelled,
    TurnDone,
    TurnFailed,
    TurnProgress,
    TurnQueued,
    TurnStarted,
    TurnStopped,
)
from cli.protocol.prose import Prose
from opta.env import EnvError
from opta.version import VERSION

# /word, then nothing or a space: a path such as /etc/hosts is no command.
SLASH = re.compile(r"/([a-z]*)(?:\s+(.*))?", re.DOTALL)
# How many messages of a resumed session are shown.
RECALLED = 4
LATEST = "latest"


@click.command("chat")
@click.option("-m", "--model", help="The model to talk with; the one that is loaded by default.")
@click.option(
    "-r", "--resume", is_flag=False, flag_value=LATEST, metavar="[ID]", help="Go on with a session."
)
@click.option("--cwd", type=FOLDER, help="The working directory of the session; this one by default.")
def command(model: str | None, resume: str | None, cwd: Path | None) -> Exit:
    """Talk with a model. Ctrl-C stops an answer, Ctrl-D or /exit leaves."""
    workspace.ask(cwd or Path.cwd())
    chat = Chat(cwd or Path.cwd(), model)
    chat.greet()
    if resume:
        chat.resume(resume)
    for line in prompts():
        chat.take(line)
        if chat.left:
            break
    return Exit.OK


def prompts() -> Iterator[str]:
    """What the user writes: edited lines on a terminal, plain lines from a pipe."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        return ask([f"/{word}" for word in SLASHES])
    return (line for line in sys.stdin if line.strip())


class Chat:
    """A conversation: the session it is in, and what its screen shows."""

    def __init__(self, cwd: Path, model: str | None) -> None:
        self.cwd = cwd
        self.model = model
        # Opened by the first message, so that looking around leaves no empty session behind.
        self.session: str | None = None
        self.console = Console(highlight=False, markup=False)
        self.daemon = Daemon(partial(launcher.ensure, self.say if self.console.is_terminal else note))
        self.left = False

    def take(self, line: str) -> None:
        """One input: a command or a message. What goes wrong is told, and the conversation goes on."""
        try:
            if found := SLASH.fullmatch(line.strip()):
                slashes.take(self, found[1], (found[2] or "").strip())
            elif line.strip():
                self.turn(line.strip())
        except (Failure, EnvError) as error:  # EnvError: the configuration became wrong meanwhile
            if not self.console.is_terminal:
                raise
            told = error if isinstance(error, Failure) else Failure(str(error))
            self.console.print(safe(told.message), style="red")
            self.say(told.hint)
        except click.Abort:  # Ctrl-C or Ctrl-D where something is asked
            self.say("\nNothing was done.")
        except KeyboardInterrupt:
            self.say("Left the answer; the daemon may still be at it.")

    def turn(self, text: str) -> None:
        self.session = self.session or open_session(self.daemon, self.cwd, self.model)
        turn = new_id()
        with cancelling(partial(self.daemon.cancel, self.session, turn)) as submitted, silent():
            there = self.console.is_terminal and sys.stdin.isatty()
            view = self.daemon.submit(self.session, text, turn=turn, model=self.model, interactive=there)
            submitted.set()
            events = self.daemon.follow(self.session, view)
            ending = self.stream(events) if self.console.is_terminal else self.copy(events)
        self.end(ending)

    def copy(self, events: Iterator[Event]) -> AnyBody:
        """The answer as plain text, for a pipe. Returns the turn's last event, as `stream` does."""
        text = Text()
        for event in events:
            text.show(event)
        text.close()
        return event.event

    def stream(self, events: Iterator[Event]) -> AnyBody:
        """The answer as Markdown, drawn as it comes."""
        bodies = (event.event for event in events)
        first = self.wait(bodies)
        prose, thought = Prose(), ""
        asking = Asking(partial(permissions.answer, self.daemon, str(self.session)))
        with LiveMarkdown(self.console) as page, closing(asking):
            for body in itertools.chain([first], bodies):
                match body:
                    case TurnProgress():
                        page.passing(reading(body))
                    case ReasoningDelta(text=text):
                        thought += text
                        page.passing(safe(thought))
                    case ReasoningDone(text=text):
                        page.aside(safe(text))
                        thought = ""
                    case PermissionRequest():
                        for line in asking.ask(body):
                            page.aside(safe(line))
                    case PermissionResolved():
                        page.aside(asking.resolved(body))
                if line := aside(body):
                    page.aside(safe(line))
                page.add(safe(prose.feed(body)))
        self.console.print()
        return body

    def wait(self, bodies: Iterator[AnyBody]) -> AnyBody:
        """Show that the model is at work, until there is something to see."""
        model = ""
        with self.console.status("waiting", spinner_style="dim") as status:
            for body in bodies:
                if isinstance(body, TurnStarted):
                    model = f"[dim]{escape(safe(body.model))}[/dim]"
                    status.update(model)
                elif isinstance(body, TurnProgress):
                    status.update(f"{model} [dim]· {reading(body)}[/dim]")
                elif not isinstance(body, TurnQueued):
                    break
        return body

    def end(self, body: AnyBody) -> None:
        """Say how the turn ended. Raises Failure when it failed or was stopped."""
        if isinstance(body, TurnFailed | TurnStopped):
            raise failure(body)
        if isinstance(body, TurnCancelled):
            self.say("Cancelled.")
        elif isinstance(body, TurnDone) and self.console.is_terminal:
            cut = " · stopped at the limit of tokens" if body.finish_reason == "length" else ""
            who = f"{body.model} · " if body.model else ""
            self.say(f"{who}{body.usage.completion_tokens} tokens in {body.seconds:.1f} s{cut}")

    def say(self, message: str) -> None:
        """A word of the program, apart from what the model says."""
        if message:
            self.console.print(safe(message), style="dim")

    def greet(self) -> None:
        if self.console.is_terminal:
            self.say(f"Opta {VERSION} · {self.model or config.load(self.cwd).model} · {self.cwd} · /help")

    def resume(self, which: str) -> None:
        """Go on with a session, its last messages shown."""
        self.session = self.daemon.latest(self.cwd).id if which == LATEST else self.daemon.resolve(which)
        found = self.daemon.session(self.session)
        self.say(f"{found.title or found.id} · {found.turns} turns")
        for message in found.messages[-RECALLED:]:
            if message.role == "user":
                self.console.print(f"› {safe(message.content)}", style="bold")
            elif message.role == "assistant":
                with LiveMarkdown(self.console) as page:
                    page.add(safe(message.content))
                self.console.print()
