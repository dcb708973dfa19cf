"""What the model is told besides the conversation: at its beginning for good, and later at its end."""

from collections.abc import Sequence
from datetime import date

from cli.protocol.events import Event, SessionUpdated, TextDone, ToolStarted, TurnStarted


def default(cwd: str, today: date) -> str:
    """Made once, when the session is: a prompt that stays the same is a prefix the server keeps."""
    return (
        "You are Opta, an assistant that runs on the user's own hardware. "
        "Answer in Markdown, briefly and to the point; say so when you do not know.\n"
        f"The working directory is {cwd}. Today is {today.isoformat()}."
    )


def reminder(facts: Sequence[Event], today: date) -> str:
    """What has changed since the model was last told, for the end of the user's message; else nothing.

    A turn in which the model never spoke told it nothing: it is no part of the conversation.
    """
    spoken = {fact.turn for fact in facts if isinstance(fact.event, TextDone | ToolStarted)}
    told = [fact for fact in facts if isinstance(fact.event, TurnStarted) and fact.turn in spoken]
    since = told[-1].seq if told else 0
    modes = [fact.event.mode for fact in facts if isinstance(fact.event, SessionUpdated) and fact.seq > since]
    mode = next((mode for mode in reversed(modes) if mode), None)
    lines = [f"The session's mode is now {mode}."] if mode else []
    if told and told[-1].time.astimezone().date() != today:
        lines.append(f"Today is {today.isoformat()}.")
    return f"[{' '.join(lines)}]" if lines else ""
