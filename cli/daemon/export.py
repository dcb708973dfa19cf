"""A session as a document: Markdown to read, JSON with every fact."""

import re
from collections.abc import Callable

from cli.daemon import sessions
from cli.daemon.models import facts
from cli.protocol.messages import Message
from cli.protocol.sessions import SessionDetail, SessionExport

FENCES = re.compile(r"`{3,}")
# A line that opens or closes a code block, and what stands behind.
FENCE = re.compile(r" {0,3}(`{3,}(?=[^`]*$)|~{3,})(.*)")
WHO = {"user": "You", "assistant": "Opta", "tool": "Result", "system": "System"}


def as_json(id: str) -> str:
    """The session, its history and its events. Raises UnknownSession."""
    session = sessions.detail(id)
    return SessionExport(session=session, events=facts(id)).model_dump_json(indent=2) + "\n"


def as_markdown(id: str) -> str:
    """The conversation, with what its tools were asked and answered. Raises UnknownSession."""
    session = sessions.detail(id)
    return "\n\n".join([*head(session), *(part for each in session.messages for part in told(each))]) + "\n"


def head(session: SessionDetail) -> list[str]:
    about = {
        "Model": session.model,
        "Folder": session.cwd,
        "Tags": ", ".join(session.tags),
        "Begun": f"{session.created:%Y-%m-%d %H:%M} UTC",
        "Forked from": f"{session.origin.session}, turn {session.origin.turn}" if session.origin else "",
    }
    title = " ".join(session.title.split()) or session.id
    return [f"# {title}", "\n".join(f"- {name}: {value}" for name, value in about.items() if value)]


def told(message: Message) -> list[str]:
    """One message: its heading, its text, and the calls it makes."""
    heading = f"## {WHO[message.role]}"
    text = fenced(message.content) if message.role == "tool" else closed(message.content)
    calls = [f"**{call.name}**\n\n{fenced(call.arguments, 'json')}" for call in message.calls]
    return [heading, *([text] if text else []), *calls]


def fenced(text: str, language: str = "") -> str:
    """A code block that nothing in `text` can end."""
    fence = "`" * max([3, *(len(found) + 1 for found in FENCES.findall(text))])
    return f"{fence}{language}\n{text}\n{fence}"


def closed(text: str) -> str:
    """The text, with an end to a code block that it leaves open: what follows is not part of it."""
    fence = ""
    for found in filter(None, map(FENCE.fullmatch, text.split("\n"))):
        if not fence:
            fence = found[1]
        elif found[1].startswith(fence) and not found[2].strip():
            fence = ""
    return f"{text}\n{fence}" if fence else text


# Every format: how it is made, and its type.
FORMATS: dict[str, tuple[Callable[[str], str], str]] = {
    "md": (as_markdown, "text/markdown; charset=utf-8"),
    "json": (as_json, "application/json"),
}
