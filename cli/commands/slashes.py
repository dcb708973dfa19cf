"""What a /word in a chat does: the daemon runs an operation of the table, the rest is the screen's own."""

import difflib
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from cli.clients.daemon import new_id
from cli.commands import context, sessions
from cli.commands.models import available
from cli.operations.slashes import SLASHES, Slash
from cli.output import Exit, Failure, safe
from cli.protocol.context import ContextView
from cli.protocol.sessions import SessionList, SessionView
from cli.protocol.settings import SettingList

if TYPE_CHECKING:
    from cli.commands.chat import Chat
    from cli.operations.table import Operation


def take(chat: "Chat", word: str, argument: str) -> None:
    """Do what a word says. Raises Failure."""
    if word not in SLASHES:
        near = difflib.get_close_matches(word, SLASHES, n=1, cutoff=0.4)
        meant = f"Did you mean /{near[0]}?" if near else "/help lists what there is."
        raise Failure(f"There is no command /{word}.", Exit.MISUSE, meant)
    slash = SLASHES[word]
    if argument and not slash.argument:
        raise Failure(f"/{word} takes nothing behind it.", Exit.MISUSE)
    if word in HANDLERS:
        HANDLERS[word](chat, argument)
    else:
        operate(chat, slash, argument)


def operate(chat: "Chat", slash: Slash, argument: str) -> None:
    """Run an operation on the session of the chat, and show what it says."""
    from cli.operations.table import OPERATIONS  # 60 ms, which only such a word costs

    operation = OPERATIONS[slash.operation]
    given = {**slash.given, **given_by(slash, argument)}
    if "session" in operation.places:
        if chat.session is None:
            raise Failure("There is no session yet.", Exit.MISUSE, "The first message opens one.")
        given["session"] = chat.session
    confirm(operation)
    given = operation.once(given, new_id())
    answer = chat.daemon.operate(slash.operation, given, confirm=bool(operation.danger))
    SHOWN[slash.operation](chat, answer)


def given_by(slash: Slash, argument: str) -> dict[str, Any]:
    if not slash.field:
        return {}
    if not argument:
        raise Failure(f"Write {slash.argument} behind it.", Exit.MISUSE)
    return {slash.field: argument}


def confirm(operation: "Operation") -> None:
    """Ask whoever watches before something dangerous. Raises Failure where the answer is not yes."""
    if not operation.danger:
        return
    if not sys.stdin.isatty():
        raise Failure("Nobody is here to confirm that.", Exit.MISUSE)
    if not click.confirm(f"{operation.danger} Go on?", err=True):
        raise Failure("Nothing was done.", Exit.MISUSE)


def help(chat: "Chat", _: str) -> None:
    for word, slash in SLASHES.items():
        chat.say(f"{f'/{word} {slash.argument}':<16}{slash.help}")
    chat.say("Alt-Enter or a \\ at the end of a line begins a new one.")


def leave(chat: "Chat", _: str) -> None:
    chat.left = True


def begin(chat: "Chat", _: str) -> None:
    chat.session = None
    chat.say("The next message opens a new session.")


def choose(chat: "Chat", wanted: str) -> None:
    """Take a model for the messages to come, or list those there are."""
    names = [model.id for model in available(chat.daemon).models]
    if not wanted:
        for name in names:
            chat.say(f"{'*' if name == chat.model else ' '} {name}")
    elif wanted in names:
        chat.model = wanted
        chat.say(f"{wanted} answers from now on.")
    else:
        near = difflib.get_close_matches(wanted, names, n=1, cutoff=0.4)
        meant = f"Did you mean {near[0]}?" if near else "/model lists what there is."
        raise Failure(f"There is no model {wanted!r}.", Exit.NO_MODEL, meant)


def show_sessions(chat: "Chat", answer: bytes) -> None:
    sessions.show_all(SessionList.model_validate_json(answer).sessions, as_json=False)


def show_change(chat: "Chat", answer: bytes) -> None:
    view = SessionView.model_validate_json(answer)
    chat.say(f"{view.title or view.id}{' · in the archive' if view.archived else ''}")


def go_on_in_fork(chat: "Chat", answer: bytes) -> None:
    view = SessionView.model_validate_json(answer)
    chat.session = view.id
    chat.say(f"Going on in a copy, {view.id[: sessions.SHORT]}; the session itself stays as it is.")


def show_export(chat: "Chat", answer: bytes) -> None:
    click.echo(safe(answer.decode()) if sys.stdout.isatty() else answer.decode(), nl=False)


def show_context(chat: "Chat", answer: bytes) -> None:
    context.show(ContextView.model_validate_json(answer))


def show_settings(chat: "Chat", answer: bytes) -> None:
    from cli.commands import config

    config.show(SettingList.model_validate_json(answer).settings, as_json=False)


def forget(chat: "Chat", _: bytes) -> None:
    chat.session = None
    chat.say("The session is deleted; the next message opens a new one.")


# What the screen does by itself.
HANDLERS: dict[str, Callable[["Chat", str], None]] = {
    "help": help,
    "new": begin,
    "model": choose,
    "exit": leave,
}
# What the screen makes of an operation's answer.
SHOWN: dict[str, Callable[["Chat", bytes], None]] = {
    "session.list": show_sessions,
    "session.update": show_change,
    "session.fork": go_on_in_fork,
    "session.export": show_export,
    "session.context": show_context,
    "session.delete": forget,
    "config.list": show_settings,
}
