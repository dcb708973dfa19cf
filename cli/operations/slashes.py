"""The words of a chat: each is an operation of the table, or what the screen does by itself."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Slash(NamedTuple):
    """`operation` is one of the table's, on the session that the chat is in; the screen does the others.

    `argument` is how help writes what stands behind the word, `field` which of the input it is; `given` is
    the rest of the input.
    """

    help: str
    argument: str = ""
    operation: str = ""
    field: str = ""
    given: Mapping[str, Any] = {}


SLASHES = {
    "help": Slash("Show this list."),
    "new": Slash("Begin a new session."),
    "model": Slash("Choose a model, or list them.", "[ID]", "model.list"),
    "sessions": Slash("List the sessions.", "", "session.list"),
    "rename": Slash("Name the session.", "TITLE", "session.update", "title"),
    "archive": Slash("Put the session out of the list.", "", "session.update", given={"archived": True}),
    "fork": Slash("Go on in a copy of the session.", "", "session.fork"),
    "export": Slash("Show the session as Markdown.", "", "session.export"),
    "context": Slash("Say what fills the model's window.", "", "session.context"),
    "config": Slash("List the settings.", "", "config.list"),
    "delete": Slash("Delete the session for good.", "", "session.delete"),
    "exit": Slash("Leave (Ctrl-D does, too)."),
}
