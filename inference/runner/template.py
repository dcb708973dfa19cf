"""A conversation as chat templates want it.

Source: https://huggingface.co/docs/transformers/chat_templating
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from inference.errors import RunnerRefused
from inference.request import Call, Chat, Message, Tool
from inference.runner.overtime import Overtime, within

# Seconds for a template, in which nobody else's prompt is tokenised; an honest one takes milliseconds.
PATIENCE = 3.0


@contextmanager
def in_time() -> Iterator[None]:
    """Raise RunnerRefused when a template, rendered in the body, takes longer than PATIENCE."""
    try:
        with within(PATIENCE):
            yield
    except Overtime:
        message = f"The model's chat template took more than {PATIENCE:.0f} s, and was stopped."
        raise RunnerRefused(message, field="messages", code="template_error") from None


def variables(chat: Chat) -> dict[str, Any]:
    """What a template is given beside the messages: tools in Hugging Face's shape, and the request's own."""
    tools = [{"type": "function", "function": function(tool)} for tool in chat.tools]
    return {**chat.variables, "tools": tools or None}


def messages(chat: Chat) -> list[dict[str, Any]]:
    return [message(one) for one in chat.messages]


def function(tool: Tool) -> dict[str, Any]:
    return {"name": tool.name, "description": tool.description, "parameters": tool.parameters}


def message(one: Message) -> dict[str, Any]:
    found: dict[str, Any] = {"role": one.role, "content": one.content}
    if one.name is not None:
        found["name"] = one.name
    if one.tool_call_id is not None:
        found["tool_call_id"] = one.tool_call_id
    if one.reasoning is not None:
        found["reasoning_content"] = one.reasoning
    if one.tool_calls:
        found["tool_calls"] = [call(each) for each in one.tool_calls]
    return found


def call(one: Call) -> dict[str, Any]:
    """Templates want arguments as an object; what is not one (the model may have written it) stays text."""
    try:
        arguments = json.loads(one.arguments)
    except ValueError:
        arguments = one.arguments
    return {"id": one.id, "type": "function", "function": {"name": one.name, "arguments": arguments}}
