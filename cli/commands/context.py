"""`opta context`: what fills the window of a conversation's model, and what is left of it."""

from pathlib import Path

import click

from cli.clients import launcher
from cli.clients.daemon import Daemon
from cli.output import document, note, table
from cli.protocol.context import ContextView

# The parts, in the order in which a request has the first of them.
NAMES = {
    "system": "system prompt",
    "instructions": "instructions",
    "tools": "tools",
    "summary": "summary of what was left out",
    "user": "your messages",
    "assistant": "the model's words and calls",
    "results": "results of tools",
}


@click.command("context")
@click.argument("session", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(session: str | None, as_json: bool) -> None:
    """Show what fills the window of a conversation's model, in tokens.

    SESSION is an id, or the beginning of one; the last one of this folder by default.
    """
    daemon = Daemon(launcher.ensure)
    view = daemon.context(daemon.resolve(session) if session else daemon.latest(Path.cwd()).id)
    if as_json:
        document(view.model_dump(mode="json"))
    else:
        show(view)


def show(view: ContextView) -> None:
    tokens = {part.name: part.tokens for part in view.parts}
    rows = [(NAMES.get(name, name), tokens[name]) for name in {**NAMES, **tokens} if tokens.get(name)]
    rows += [("kept for the answer", view.reserve), ("free", view.free)]
    table(("PART", "TOKENS", "SHARE"), ((*row, f"{100 * row[1] / view.window:.1f} %") for row in rows))
    counted = "counted by the server" if view.exact else "estimated"
    window = "" if view.told else ", which its server does not tell"
    note(f"{view.model}: {view.used} of {view.window} tokens{window}; {counted}.")
    if view.left_out:
        note(f"{view.left_out} messages are left out; `opta sessions show` has them.")
