"""What the user types: edited lines with a history, and quiet while an answer is drawn."""

import contextlib
import sys
import termios
from collections.abc import Iterator, Sequence

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.filters import Condition
from prompt_toolkit.history import FileHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from opta import paths

BINDINGS = KeyBindings()


@BINDINGS.add("escape", "enter")
def newline(event: KeyPressEvent) -> None:
    event.current_buffer.insert_text("\n")


@BINDINGS.add("enter")
def enter(event: KeyPressEvent) -> None:
    """Send, or go on below when the line ends with a backslash."""
    buffer = event.current_buffer
    if buffer.document.text_before_cursor.endswith("\\"):
        buffer.delete_before_cursor()
        buffer.insert_text("\n")
    else:
        buffer.validate_and_handle()


@BINDINGS.add("c-c")
def interrupt(event: KeyPressEvent) -> None:
    """Throw away what is written; on an empty line tell the caller."""
    if event.current_buffer.text:
        event.current_buffer.reset()
    else:
        event.app.exit(exception=KeyboardInterrupt)


def ask(commands: Sequence[str]) -> Iterator[str]:
    """Each input until Ctrl-D. `commands` complete at the beginning of a line."""
    session = make_session(commands)
    interrupts = 0
    while True:
        try:
            line = session.prompt("› ", prompt_continuation="  ")
        except EOFError:
            return
        except KeyboardInterrupt:
            interrupts += 1
            if interrupts > 1:
                print("/exit or Ctrl-D leaves.")
            continue
        interrupts = 0
        yield line


def make_session(commands: Sequence[str]) -> PromptSession[str]:
    file = paths.private(paths.opta_home()) / "history"
    file.touch(mode=0o600)
    session: PromptSession[str] = PromptSession(
        history=FileHistory(str(file)),
        key_bindings=BINDINGS,
        multiline=True,
        completer=WordCompleter(list(commands), sentence=True),
        complete_while_typing=Condition(lambda: session.default_buffer.text.startswith("/")),
    )
    return session


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Keys typed meanwhile are not echoed into the answer; the next prompt gets them."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    quiet = [*before]
    quiet[3] &= ~termios.ECHO
    termios.tcsetattr(sys.stdin, termios.TCSANOW, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)
