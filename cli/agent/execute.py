"""Tools: a plain function is one, its name, signature and docstring are its schema."""

import asyncio
import inspect
from collections.abc import Callable, Mapping
from json import JSONDecodeError, loads
from typing import Any

from pydantic import ConfigDict, ValidationError, create_model

from cli.protocol.events import ToolDone
from cli.protocol.messages import ToolCall

# Synchronous tools run in a thread, asynchronous ones on the loop.
Tool = Callable[..., Any]
Tools = Mapping[str, Tool]


def schema(name: str, tool: Tool) -> dict[str, Any]:
    """The tool as the model is told of it, in OpenAI's form."""
    parameters = arguments_of(tool).model_json_schema()
    about = {"name": name, "description": inspect.getdoc(tool) or "", "parameters": parameters}
    return {"type": "function", "function": about}


def arguments_of(tool: Tool) -> Any:
    """A pydantic model of the parameters, which checks what the model sends."""
    fields: dict[str, Any] = {
        name: (each.annotation, ... if each.default is each.empty else each.default)
        for name, each in inspect.signature(tool, eval_str=True).parameters.items()
    }
    return create_model(getattr(tool, "__name__", "tool"), __config__=ConfigDict(extra="forbid"), **fields)


def arguments(call: ToolCall) -> dict[str, Any]:
    """What the model wrote, as an object; empty when it is none, and `execute` then says so."""
    try:
        found = loads(call.arguments or "{}")
    except JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def mutates(call: ToolCall, tools: Tools) -> bool:
    """Whether the call may change anything; a tool that only reads says so by `mutates = False`."""
    return bool(getattr(tools.get(call.name), "mutates", True))


async def execute(call: ToolCall, tools: Tools) -> ToolDone:
    """The result, which is always one: what goes wrong is told to the model, which can mend it."""
    tool = tools.get(call.name)
    if tool is None:
        known = ", ".join(tools) or "none"
        return done(call, f"There is no tool {call.name!r}. There are: {known}.", ok=False)
    try:
        given = arguments_of(tool).model_validate_json(call.arguments or "{}")
    except ValidationError as error:
        return done(call, f"Wrong arguments: {error}", ok=False)
    try:
        return done(
            call, str(await invoke(tool, {name: getattr(given, name) for name in type(given).model_fields}))
        )
    except Exception as error:  # a tool may raise anything; the model reads it
        return done(call, f"{type(error).__name__}: {error}", ok=False)


async def invoke(tool: Tool, given: dict[str, Any]) -> Any:
    if inspect.iscoroutinefunction(tool):
        return await tool(**given)
    return await asyncio.to_thread(tool, **given)


def done(call: ToolCall, result: str, *, ok: bool = True) -> ToolDone:
    return ToolDone(call=call.id, name=call.name, ok=ok, result=result)
