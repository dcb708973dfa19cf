"""How models mark their reasoning: one row per pair of markers."""

import re
from typing import NamedTuple


class Reasoning(NamedTuple):
    opens: str
    closes: str
    # The model writes these around its answer too; they say nothing more.
    silent: tuple[str, ...] = ()
    # Reasoning may open again after text; else only before it and after a tool call.
    anywhere: bool = False


# The first row whose closing marker the template knows is the one; <think> is last, because templates
# mention it beside their own.
ROWS = [
    Reasoning("<longcat_think>", "</longcat_think>"),
    Reasoning("<seed:think>", "</seed:think>"),
    Reasoning("<mm:think>", "</mm:think>"),
    Reasoning("<|think:start|>", "<|think:end|>"),
    Reasoning("<|START_THINKING|>", "<|END_THINKING|>", ("<|START_RESPONSE|>", "<|END_RESPONSE|>")),
    Reasoning("<|channel>thought", "<channel|>", anywhere=True),
    Reasoning(
        "<|open|>think<|sep|>",
        "<|close|>think<|sep|>",
        ("<|open|>response<|sep|>", "<|close|>response<|sep|>", "<|close|>message<|sep|>", "<|end_of_msg|>"),
        anywhere=True,
    ),
    Reasoning("[THINK]", "[/THINK]"),
    Reasoning("<think>", "</think>"),
]
NONE = Reasoning("", "")
# Of an answer whose kinds of text are messages of their own: see tools/envelope.py.
HARMONY = Reasoning("<|channel|>analysis<|message|>", "<|end|>")
MUSE = Reasoning(" to=self<|message|>", "<|eom|>")


def row(template: str | None) -> Reasoning:
    """That of the models with this template; NONE when it names no markers."""
    if not template:
        return NONE
    if "<|channel|>" in template and "<|message|>" in template:
        return HARMONY
    if "to=self<|message|>" in template:
        return MUSE
    if "<|open|>" in template and "<|close|>" in template and "<|sep|>" in template:
        return next(found for found in ROWS if found.opens.startswith("<|open|>"))
    found = next((found for found in ROWS if found.closes in template), NONE)
    if found.opens and "<response>" in template and "</response>" in template:  # Granite 3.3
        return found._replace(silent=("<response>", "</response>"))
    return found


def markers(template: str | None) -> tuple[str, str] | None:
    """What stands before and behind reasoning in the answers that follow prompts of this template; None
    when the model is not known to reason."""
    found = row(template)
    return (found.opens, found.closes) if found.opens else None


def begun(template: str | None, prompt: str) -> bool:
    """Whether the answer to `prompt` starts inside reasoning: the template opened it, or a model is asked
    that opens it silently."""
    found = row(template)
    if not found.opens or not template:
        return False
    _, opened, rest = prompt.rpartition(found.opens)
    # Behind a marker that only quotes one, the turn ends and another begins, with markers of their own.
    if opened and not re.search(r"[<\[]", rest):
        return True
    # DeepSeek R1: its first templates never open what every answer closes.
    return found.opens not in template and prompt.endswith("<｜Assistant｜>")
