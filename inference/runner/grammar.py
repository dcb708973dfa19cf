"""The grammar of an answer: what was asked of it, as llguidance's Lark.

Source: https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md
"""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from msgspec.structs import replace

from inference.errors import RunnerRefused
from inference.request import AnyJson, Chat, Function, Generate, JsonSchema, Tool
from inference.runner.parsing.reading import Family, Written
from inference.runner.parsing.reasoning import begun, markers
from inference.runner.parsing.tools.families import family, written
from inference.runner.schema import Node, Room, enforceable
from inference.runner.tokenizer import Tokenizer

FORMAT_FIELD = "response_format.json_schema.schema"
OBJECT: Node = {"type": "object"}
# Special tokens are no text, so none of them comes where these may.
TERMINALS = r"""
TEXT: /(?s:.*)/
NO_OBJECT: /[^{](?s:.*)/
GAP: /[ \n]{0,4}/
"""
# Of families whose answers are messages: the header of one for the user, and what begins one after another.
HEADERS = {"harmony": "<|channel|>final<|message|>", "muse_spark": " to=user<|message|>"}
NEXT_MESSAGE = "<|start|>assistant"


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
    # Each schema in it, by the field it came by.
    schemas: dict[str, Node]


def thought(template: str | None, prompt: str) -> Thought | None:
    """None when the model does not reason, or the prompt says that it has."""
    found = markers(template)
    if found is None:
        return None
    opens, closes = found
    inside = begun(template, prompt)
    if not inside and prompt.rstrip().endswith(closes):
        return None
    after = NEXT_MESSAGE if family(template).name in HEADERS else ""
    return Thought(opens, closes + after, inside)


def bound(wanted: Generate) -> bool:
    """Whether `wanted` holds its answer to anything."""
    if wanted.format or wanted.tool_choice not in ("auto", "none"):
        return True
    tools = offered(wanted)
    return bool(tools) and (not wanted.parallel_tool_calls or any(each.tool.strict for each in tools))


def grammar(wanted: Generate, tokenizer: Tokenizer, template: str | None, thought: Thought | None) -> Grammar:
    """What `wanted`, which is bound, holds its answer to. Raises RunnerRefused."""
    lark = Lark(tokenizer)
    answer = Answer(lark, family(template), written(template)).body(wanted)
    before = lark.thought(thought) if thought else ""
    lark.rules.append(f"start: {before} answer\nanswer: {answer}")
    return Grammar(TERMINALS + "\n".join(lark.rules), lark.schemas)


class Lark:
    """Rules as they are written."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.guide: Any = tokenizer.guide()
        self.ends = tokenizer.ends
        self.rules: list[str] = []
        self.schemas: dict[str, Node] = {}
        self.room = Room()
        # The rule of each schema, by its field.
        self.made: dict[str, str] = {}

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
                # An end token ends the answer, which is not the grammar's to say.
                yield from () if token in self.ends else (f"<[{token}]>",)
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
        if field not in self.made:
            held = self.schemas[field] = enforceable(schema, field, self.room)
            self.made[field] = self.rule(f"%json {json.dumps(held, ensure_ascii=False)}")
        return self.made[field]

    def thought(self, thought: Thought) -> str:
        """Reasoning before the answer, which a model need not begin."""
        if thought.begun:
            return self.rule(f"{self.until(thought.closes)} GAP")
        return self.rule(f"{self.literal(thought.opens)} {self.until(thought.closes)} GAP") + "?"


class Answer:
    """What may come once reasoning is over."""

    def __init__(self, lark: Lark, family: Family, written: Written) -> None:
        self.lark, self.family, self.written = lark, family, written
        self.header = lark.literal(HEADERS.get(family.name, ""))

    def body(self, wanted: Generate) -> str:
        tools = offered(wanted)
        if wanted.tool_choice not in ("auto", "none"):
            several = wanted.parallel_tool_calls and wanted.tool_choice == "required"
            calls = self.calls([hold(each) for each in tools], several=several)
            return calls if self.family.written else f"{self.header} {calls}"
        if wanted.format and not tools:
            return self.formatted(wanted.format)
        return self.either(tools, wanted)

    def formatted(self, wanted: JsonSchema | AnyJson) -> str:
        schema = wanted.schema if isinstance(wanted, JsonSchema) else OBJECT
        return f"{self.header} {self.lark.json(schema, FORMAT_FIELD)}"

    def either(self, tools: list[Offered], wanted: Generate) -> str:
        """An answer or calls, as the model likes."""
        if self.family.written is None:
            raise unholdable(tools, wanted)
        several, marker = wanted.parallel_tool_calls, self.marker()
        if wanted.format:
            return f"{self.formatted(wanted.format)} | {self.calls(tools, several=several)}"
        if self.header:
            return f"{self.header} TEXT | {self.calls(tools, several=several)}"
        if not marker:
            return f'NO_OBJECT | "" | {self.calls(tools, several=several)}'
        return f"TEXT | {self.lark.until(marker)} {self.calls(tools, several=several, behind=marker)}"

    def marker(self) -> str:
        """What calls are known by wherever they come; "" when they just begin."""
        begins = self.written.opens + self.written.before
        return next((marker for marker in self.family.opens if begins.startswith(marker)), "")

    def calls(self, tools: list[Offered], *, several: bool, behind: str = "") -> str:
        """Calls, or what comes of them behind a marker that they begin with."""
        written, literal = self.written, self.lark.literal
        opens = written.opens.removeprefix(behind)
        first = written.before if written.opens else written.before.removeprefix(behind)
        parts = [literal(opens), self.choice(tools, first)]
        if several and written.separator is not None:
            parts.append(f"({literal(written.separator)} {self.choice(tools, written.before)})*")
        return self.lark.rule(" ".join((*parts, literal(written.closes))))

    def choice(self, tools: list[Offered], before: str) -> str:
        return self.lark.rule(" | ".join(self.call(each, before) for each in tools))

    def call(self, offered: Offered, before: str) -> str:
        tool, written, literal = offered.tool, self.written, self.lark.literal
        schema = {"type": "object", **tool.parameters} if tool.strict else OBJECT
        arguments = self.lark.json(schema, f"{offered.field}.parameters")
        return f"{literal(before + tool.name + written.between)} {arguments} {literal(written.after)}"


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
            "There is no such tool to call. Send it in tools, or choose auto.", field="tool_choice"
        )
    return tools


def hold(offered: Offered) -> Offered:
    """A call that is asked for is held to its schema, strict or not."""
    return offered._replace(tool=replace(offered.tool, strict=True))


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
