"""What fills a model's window: the parts of the next request, and what is kept free."""

from collections.abc import Sequence
from typing import Any

from cli.agent import context
from cli.agent.context import Budget, bytes_of, view, weight
from cli.agent.model import Model
from cli.protocol.context import ContextPart, ContextView
from cli.protocol.messages import Message

ROLES = {"user": "user", "assistant": "assistant", "tool": "results"}


async def contents(
    model: Model, messages: Sequence[Message], tools: Sequence[dict[str, Any]], instructions: str
) -> ContextView:
    """How the window is filled before the user's next message."""
    shown = view(messages, model.compacted)
    summary = model.compacted.summary if model.compacted else ""
    used, exact = await model.measure(shown, tools)
    gauge = await model.known()
    budget = Budget(gauge.window)
    return ContextView(
        model=model.name,
        window=budget.window,
        told=gauge.card.context is not None,
        exact=exact,
        used=used,
        parts=shares(used, parts(shown, tools, instructions, summary)),
        reserve=budget.answer + budget.results,
        free=max(0, budget.prompt - used),
        left_out=model.compacted.through if model.compacted else 0,
    )


def parts(
    shown: Sequence[Message], tools: Sequence[dict[str, Any]], instructions: str, summary: str
) -> dict[str, int]:
    """The bytes of each part; the summary stands in a user message, the instructions in the system prompt."""
    system, said = context.split(shown)
    found = {"instructions": bytes_of(instructions), "tools": weight((), tools), "summary": bytes_of(summary)}
    found["system"] = max(0, weight(system) - found["instructions"])
    for role, name in ROLES.items():
        found[name] = weight(message for message in said if message.role == role)
    found["user"] = max(0, found["user"] - found["summary"])
    return found


def shares(used: int, parts: dict[str, int]) -> list[ContextPart]:
    """The tokens, divided among the parts by their bytes so that they add up."""
    whole, spent, passed = sum(parts.values()), 0, 0
    found = []
    for name, size in parts.items():
        passed += size
        upto = used * passed // max(1, whole)
        found.append(ContextPart(name=name, tokens=upto - spent))
        spent = upto
    return found
