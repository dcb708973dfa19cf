"""How models mark their reasoning, and whether they are at it where a prompt ends."""

from typing import NamedTuple

HARMONY = ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant")
# What opens reasoning, and what closes it.
MARKERS = (
    ("<think>", "</think>"),
    ("<longcat_think>", "</longcat_think>"),
    ("<|think:start|>", "<|think:end|>"),
    ("<|channel>thought\n", "<channel|>"),
    ("◁think▷", "◁/think▷"),
    HARMONY,
)


class Reasoning(NamedTuple):
    opens: str
    closes: str
    # Whether the prompt ends inside it.
    begun: bool


def reasoning(template: str | None, prompt: str) -> Reasoning | None:
    """The reasoning that an answer to `prompt` may begin with; None when there is none, or it is over."""
    for opens, closes in MARKERS:
        if template and (opens.rstrip() in template or closes in template):
            end = prompt.rstrip()
            if end.endswith(closes) and closes != HARMONY[1]:
                return None
            return Reasoning(opens, closes, end.endswith(opens.rstrip()))
    return None
