"""The grammar of an answer: what was asked of it, as llguidance's Lark.

Source: https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md
"""

import json
from collections.abc import Iterator
from typing import NamedTuple

from llguidance import LLTokenizer
from msgspec.structs import replace

from inference.errors import RunnerRefused
from inference.request import AnyJson, Chat, Function, Generate, JsonSchema, Tool
from inference.runner.parsing.layout import ARGUMENTS, NAME, NUMBER, PLAIN, PLAIN_LIST, Layout, layout
from inference.runner.parsing.reasoning import begun, markers
from inference.runner.schema import Node, enforceable

FORMAT_FIELD = "response_format.json_schema.schema"
OBJECT: Node = {"type": "object"}
# Special tokens are no text, so none of them comes where these may.
TERMINALS = r"""
TEXT: /(?s:.*)/
GAP: /[ \n]{0,4}/
NO_OBJECT: /[^{](?s:.*)/
NUMBER: /[0-9]{1,3}/
"""


class Offered(NamedTuple):
    """A tool, and its place in the request."""

    tool: Tool
    place: int

    @property
    def field(self) -> str:
        return f"tools.{self.place}.function"


class Thought(NamedTuple):
    """Reasoning that an answer may begin with; `begun` says that it does so inside of it."""

    opens: str
    closes: str
    begun: bool


class Grammar(NamedTuple):
    lark: str
    # Each schema in it, and the field it came by.
    schemas: list[tuple[str, Node]]


def thought(template: str | None, prompt: str) -> Thought | None:
    """None when the model does not reason, or the prompt says that it has."""
    found = markers(template)
    if found is None:
        return None
    opens, closes = found
    inside = begun(template, prompt)
    if not inside and prompt.rstrip().endswith(closes):
        return None
    written = layout(template)
    return Thought(opens, closes + (written.resumes if written else ""), inside)


def bound(wanted: Generate) -> bool:
    """Whether `wanted` holds its answer to anything."""
    if wanted.format or wanted.tool_choice not in ("auto", "none"):
        return True
    tools = offered(wanted)
    return bool(tools) and (not wanted.parallel_tool_calls or any(each.tool.strict for each in tools))


def grammar(wanted: Generate, guide: LLTokenizer, template: str | None, thought: Thought | None) -> Grammar:
    """What `wanted`, which is bound, holds its answer to. Raises RunnerRefused."""
    lark = Lark(guide)
    answer = Answer(lark, layout(template)).body(wanted)
    before = lark.thought(thought) if thought else ""
    lark.rules.append(f"start: {before} answer\nanswer: {answer}")
    return Grammar(TERMINALS + "\n".join(lark.rules), lark.schemas)


class Lark:
    """Rules as they are written."""

    def __init__(self, guide: LLTokenizer) -> None:
        self.guide = guide
        self.rules: list[str] = []
        self.schemas: list[tuple[str, Node]] = []

    def rule(self, body: str) -> str:
        """A new rule's name."""
        name = f"rule_{len(self.rules)}"
        self.rules.append(f"{name}: {body}")
        return name

    def literal(self, text: str) -> str:
        """`text`, whose markers are tokens of their own where the vocabulary has them."""
        return " ".join(self.words(text))

    def words(self, text: str) -> Iterator[str]:
        for token in self.guide.tokenize_str(text, parse_special=True):
            if self.guide.is_special_token(token):
                before, _, text = text.partition(self.guide.decode_bytes([token]).decode())
                yield from quoted(before)
                yield f"<[{token}]>"
        yield from quoted(text)

    def until(self, marker: str) -> str:
        """Any text up to `marker`, and it too."""
        first, *rest = self.words(marker)
        if first.startswith("<"):
            return " ".join(("TEXT", first, *rest))
        name = f"until_{len(self.rules)}"
        self.rules.append(f"{name}[lazy]: TEXT {first}")
        return " ".join((name, *rest))

    def json(self, schema: Node, field: str) -> str:
        held = enforceable(schema, field)
        self.schemas.append((field, held))
        return self.rule(f"%json {json.dumps(held, ensure_ascii=False)}")

    def thought(self, thought: Thought) -> str:
        """Reasoning before the answer, which a model need not begin."""
        if thought.begun:
            return self.rule(f"{self.until(thought.closes)} GAP")
        return self.rule(f"{self.literal(thought.opens)} {self.until(thought.closes)} GAP") + "?"


class Answer:
    """What may come once reasoning is over."""

    def __init__(self, lark: Lark, layout: Layout | None) -> None:
        self.lark, self.layout = lark, layout

    def body(self, wanted: Generate) -> str:
        tools = offered(wanted)
        if wanted.tool_choice not in ("auto", "none"):
            return self.forced(tools, wanted)
        if wanted.format and not tools:
            return self.formatted(wanted.format)
        return self.either(tools, wanted)

    def formatted(self, wanted: JsonSchema | AnyJson) -> str:
        schema = wanted.schema if isinstance(wanted, JsonSchema) else OBJECT
        before = self.lark.literal(self.layout.content) if self.layout else ""
        return f"{before} {self.lark.json(schema, FORMAT_FIELD)}"

    def forced(self, tools: list[Offered], wanted: Generate) -> str:
        several = wanted.parallel_tool_calls and wanted.tool_choice == "required"
        layout = self.layout or (PLAIN_LIST if several else PLAIN)
        return self.calls(layout, layout, [hold(each) for each in tools], several=several)

    def either(self, tools: list[Offered], wanted: Generate) -> str:
        """An answer or calls, as the model likes."""
        layout = self.layout
        if layout is None:
            raise unholdable(tools, wanted)
        several = wanted.parallel_tool_calls
        if wanted.format or layout.content:
            text = (
                self.formatted(wanted.format)
                if wanted.format
                else self.lark.literal(layout.content) + " TEXT"
            )
            return f"{text} | {self.calls(layout, layout, tools, several=several)}"
        if not layout.marker:
            return f'NO_OBJECT | "" | {self.calls(layout, layout, tools, several=several)}'
        calls = self.calls(unmarked(layout), layout, tools, several=several)
        return f"TEXT | {self.lark.until(layout.marker)} {calls}"

    def calls(self, first: Layout, rest: Layout, tools: list[Offered], *, several: bool) -> str:
        """Calls of which the first one, with what opens them, may be written in another way."""
        literal = self.lark.literal
        parts = [literal(first.opening), self.choice(first, tools)]
        if several and rest.several:
            parts.append(f"({literal(rest.between)} {self.choice(rest, tools)})*")
        return self.lark.rule(" ".join((*parts, literal(rest.closing))))

    def choice(self, layout: Layout, tools: list[Offered]) -> str:
        return self.lark.rule(" | ".join(self.call(layout, each) for each in tools))

    def call(self, layout: Layout, offered: Offered) -> str:
        tool = offered.tool
        before, after = layout.call.replace(NAME, tool.name).split(ARGUMENTS)
        begins = " NUMBER ".join(map(self.lark.literal, before.split(NUMBER)))
        schema = {"type": "object", **tool.parameters} if tool.strict else OBJECT
        return f"{begins} {self.lark.json(schema, offered.field + '.parameters')} {self.lark.literal(after)}"


def offered(wanted: Generate) -> list[Offered]:
    """The tools that may be called. Raises RunnerRefused when the choice among them names none."""
    choice = wanted.tool_choice
    if choice == "none" or not isinstance(wanted.prompt, Chat):
        return []
    tools = [Offered(tool, place) for place, tool in enumerate(wanted.prompt.tools)]
    if isinstance(choice, Function):
        tools = [each for each in tools if each.tool.name == choice.name]
    if not tools and choice != "auto":
        raise RunnerRefused(
            "There is no such tool to call. Send it in tools, or choose auto.",
            field="tool_choice",
        )
    return tools


def hold(offered: Offered) -> Offered:
    """A call that is asked for is held to its schema, strict or not."""
    return offered._replace(tool=replace(offered.tool, strict=True))


def unmarked(layout: Layout) -> Layout:
    """What remains of a first call behind the marker that it is known by."""
    if layout.opening:
        return layout._replace(opening=layout.opening.removeprefix(layout.marker))
    return layout._replace(call=layout.call.removeprefix(layout.marker))


def unholdable(tools: list[Offered], wanted: Generate) -> RunnerRefused:
    """Of what is held to nothing because a model writes its calls in no JSON."""
    strict = next((each for each in tools if each.tool.strict), None)
    held = f"{strict.field}.strict" if strict else "parallel_tool_calls"
    return RunnerRefused(
        "This model writes tool calls in a form that cannot be held to a grammar while it is free to answer "
        "otherwise. Leave this out, or set tool_choice to required or to one function.",
        field="response_format" if wanted.format else held,
        code="unsupported_with_tools",
    )


def quoted(text: str) -> Iterator[str]:
    if text:
        yield json.dumps(text, ensure_ascii=False)
