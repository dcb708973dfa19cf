"""What the model is told besides the conversation: at its beginning for good, and later at its end."""

from collections.abc import Sequence
from datetime import date

from cli.protocol.events import ContextCompacted, Event, TextDone, ToolStarted, TurnStarted

# What the model is told of each of the session's modes. The system prompt says nothing of it, for a mode can
# change and the prompt cannot.
MODES: dict[str, str] = {
    "chat": "answer, and use tools where they help.",
    "do": "carry the task out to its end, without asking back.",
    "plan": "look and think, and change nothing; what changes something is refused. End with a plan.",
    "review": "look, and change nothing. Say what is wrong, where, how bad it is, and what would mend it.",
    "research": "look things up, and change nothing. Say where each fact is from.",
}
# The mode of a model that was told of none.
DEFAULT = "chat"


def default(cwd: str, today: date) -> str:
    """Made once, when the session is: a prompt that stays the same is a prefix the server keeps."""
    return (
        "You are Opta, an assistant that runs on the user's own hardware. "
        "Answer in Markdown, briefly and to the point; say so when you do not know.\n"
        f"The working directory is {cwd}. Today is {today.isoformat()}."
    )


def reminder(facts: Sequence[Event], mode: str, today: date) -> str:
    """What has changed since the model was last told, for the end of the user's message; else nothing.

    A turn in which the model never spoke told it nothing: it is no part of the conversation. What was told
    before messages gave way to a summary is told again.
    """
    spoken = {fact.turn for fact in facts if isinstance(fact.event, TextDone | ToolStarted)}
    started = [(fact, fact.event) for fact in facts if isinstance(fact.event, TurnStarted)]
    told, last = next((each for each in reversed(started) if each[0].turn in spoken), (None, None))
    compacted = [fact.seq for fact in facts if isinstance(fact.event, ContextCompacted)]
    forgotten = told and compacted and compacted[-1] > told.seq and mode != DEFAULT
    lines = []
    if forgotten or mode != (last.mode if last else DEFAULT):
        lines.append(f"The session's mode is now {mode}: {MODES[mode]}")
    if told and told.time.astimezone().date() != today:
        lines.append(f"Today is {today.isoformat()}.")
    return f"[{' '.join(lines)}]" if lines else ""
