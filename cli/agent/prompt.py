"""The system prompt of a session that brings none of its own."""

from datetime import date


def default(cwd: str, today: date) -> str:
    """Made once, when the session is: a prompt that stays the same is a prefix the server keeps."""
    return (
        "You are Opta, an assistant that runs on the user's own hardware. "
        "Answer in Markdown, briefly and to the point; say so when you do not know.\n"
        f"The working directory is {cwd}. Today is {today.isoformat()}."
    )
