"""What every family must read, in the family's own hand: the same calls, written as its template does."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from inference.runner.parsing.pieces import Content, Thought
from tests.inference.runner.parsing.case import Case, Expected, Made

Calls = list[tuple[str, dict[str, Any]]]


class Hand(NamedTuple):
    """How a family writes calls; `template` has the line of its template that tells it."""

    family: str
    template: str
    write: Callable[[Calls], str]
    content: Callable[[str], str] = str
    think: Callable[[str], str] | None = None
    # Cannot say it: what makes the text of a value look like the end of one.
    end: str = ""


def dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def plain(value: object) -> str:
    return value if isinstance(value, str) else dumps(value)


def objects(calls: Calls, key: str = "arguments", separator: str = ", ") -> str:
    return separator.join(f'{{"name": "{name}", "{key}": {dumps(given)}}}' for name, given in calls)


def hermes(calls: Calls) -> str:
    return "\n".join(f"<tool_call>\n{objects([call])}\n</tool_call>" for call in calls)


def coder(calls: Calls, section: str = "tool_call") -> str:
    def one(name: str, given: dict[str, Any]) -> str:
        inside = "".join(f"<parameter={key}>\n{plain(value)}\n</parameter>\n" for key, value in given.items())
        return f"<{section}>\n<function={name}>\n{inside}</function>\n</{section}>"

    return "\n".join(one(*call) for call in calls)


def invoked(calls: Calls, prefix: str, section: str, breaks: str = "\n") -> str:
    def one(name: str, given: dict[str, Any]) -> str:
        inside = "".join(
            f'<{prefix}parameter name="{key}">{plain(value)}</{prefix}parameter>{breaks}'
            for key, value in given.items()
        )
        return f'<{prefix}invoke name="{name}">{breaks}{inside}</{prefix}invoke>{breaks}'

    return f"<{section}>\n{''.join(one(*call) for call in calls)}</{section}>"


def dsml(calls: Calls) -> str:
    def one(name: str, given: dict[str, Any]) -> str:
        inside = "".join(
            f'<｜DSML｜parameter name="{key}" string="{"true" if isinstance(value, str) else "false"}">'
            f"{plain(value)}</｜DSML｜parameter>\n"
            for key, value in given.items()
        )
        return f'<｜DSML｜invoke name="{name}">\n{inside}</｜DSML｜invoke>\n'

    return f"<｜DSML｜function_calls>\n{''.join(one(*call) for call in calls)}</｜DSML｜function_calls>"


def minicpm(calls: Calls) -> str:
    def value(one: object) -> str:
        special = isinstance(one, str) and any(char in one for char in "<&\n")
        return f"<![CDATA[{one}]]>" if special else plain(one)

    def one(name: str, given: dict[str, Any]) -> str:
        inside = "".join(f'<param name="{key}">{value(one)}</param>' for key, one in given.items())
        return f'<function name="{name}">{inside}</function>'

    return "\n".join(one(*call) for call in calls)


def pairs(calls: Calls, prefix: str = "", breaks: str = "") -> str:
    def one(name: str, given: dict[str, Any]) -> str:
        inside = "".join(
            f"{breaks}<{prefix}arg_key>{key}</{prefix}arg_key>{breaks}"
            f"<{prefix}arg_value>{plain(value)}</{prefix}arg_value>"
            for key, value in given.items()
        )
        return f"<{prefix}tool_call>{name}{inside}{breaks}</{prefix}tool_call>"

    return "\n".join(one(*call) for call in calls)


def xtml(calls: Calls) -> str:
    def type_of(value: object) -> str:
        names = {str: "string", bool: "boolean", dict: "object", list: "array", type(None): "null"}
        return names.get(type(value), "number")

    def one(number: int, name: str, given: dict[str, Any]) -> str:
        inside = "".join(
            f'<|open|>argument key="{key}" type="{type_of(value)}"<|sep|>{plain(value)}<|close|>argument'
            f"<|sep|>"
            for key, value in given.items()
        )
        return f'<|open|>call tool="{name}" index="{number}"<|sep|>{inside}<|close|>call<|sep|>'

    inside = "".join(one(number, *call) for number, call in enumerate(calls, 1))
    return f"<|open|>tools<|sep|>{inside}<|close|>tools<|sep|>"


def gemma(calls: Calls, opens: str, quote: str, closes: str) -> str:
    def value(one: object) -> str:
        match one:
            case str():
                return f"{quote}{one}{quote}"
            case dict():
                return "{" + ",".join(f"{key}:{value(inner)}" for key, inner in one.items()) + "}"
            case list():
                return "[" + ",".join(map(value, one)) + "]"
        return dumps(one)

    return "".join(f"{opens}call:{name}{value(given)}{closes}" for name, given in calls)


def pythonic(calls: Calls) -> str:
    inside = ", ".join(
        f"{name}({', '.join(f'{key}={value!r}' for key, value in given.items())})" for name, given in calls
    )
    return f"<|tool_call_start|>[{inside}]<|tool_call_end|>"


def kimi(calls: Calls) -> str:
    inside = "".join(
        f"<|tool_call_begin|>functions.{name}:{at}<|tool_call_argument_begin|>{dumps(given)}<|tool_call_end|>"
        for at, (name, given) in enumerate(calls)
    )
    return f"<|tool_calls_section_begin|>{inside}<|tool_calls_section_end|>"


def deepseek(calls: Calls, *, fenced: bool) -> str:
    inside = "\n".join(
        f"<｜tool▁call▁begin｜>function<｜tool▁sep｜>{name}\n```json\n{dumps(given)}\n```<｜tool▁call▁end｜>"
        if fenced
        else f"<｜tool▁call▁begin｜>{name}<｜tool▁sep｜>{dumps(given)}<｜tool▁call▁end｜>"
        for name, given in calls
    )
    return f"<｜tool▁calls▁begin｜>{inside}<｜tool▁calls▁end｜>"


def mistral(calls: Calls) -> str:
    return "".join(f"[TOOL_CALLS]{name}[ARGS]{dumps(given)}" for name, given in calls)


def harmony(calls: Calls) -> str:
    return "<|start|>assistant".join(
        f"<|channel|>commentary to=functions.{name} <|constrain|>json<|message|>{dumps(given)}<|call|>"
        for name, given in calls
    )


def muse(calls: Calls) -> str:
    return "<|eom|><|start|>assistant".join(
        f" to={name}<|message|>{invoked([(name, given)], 'atem:', 'atem:function_calls')}"
        for name, given in calls
    )


def think(text: str, tag: str = "think") -> str:
    return f"<{tag}>\n{text}\n</{tag}>\n\n"


HANDS = [
    Hand("hermes", '\'\\n<tool_call>\\n{"name": "\' </think>', hermes, think=think),
    Hand("granite", "'<|tool_call|>'", lambda calls: f"<|tool_call|>[{objects(calls)}]"),
    Hand("json_lists", "'<TOOLCALL>['", lambda calls: f"<TOOLCALL>[{objects(calls)}]</TOOLCALL>"),
    Hand("llama3", "<|python_tag|>", lambda calls: "<|python_tag|>" + objects(calls, "parameters", "; ")),
    Hand("qwen3_coder", "<tool_call>\\n<function= </think>", coder, think=think, end="</parameter>"),
    Hand(
        "seed",
        "<seed:tool_call> </seed:think>",
        lambda calls: coder(calls, "seed:tool_call"),
        think=lambda text: think(text, "seed:think"),
        end="</parameter>",
    ),
    Hand(
        "minimax_m2",
        "<minimax:tool_call> </think>",
        lambda calls: invoked(calls, "", "minimax:tool_call"),
        think=think,
        end="</parameter>",
    ),
    Hand("deepseek_dsml", "｜DSML｜ </think>", dsml, think=think, end="</｜DSML｜parameter>"),
    Hand("minicpm5", '<param name="', minicpm, end="]]></param>"),
    Hand("glm47", "<arg_key>{k}</arg_key> </think>", pairs, think=think, end="</arg_value>"),
    Hand(
        "glm47 in lines",
        "<arg_key>{k}</arg_key>",
        lambda calls: pairs(calls, breaks="\n"),
        end="</arg_value>",
    ),
    Hand(
        "longcat",
        "<longcat_tool_call> </longcat_think>",
        lambda calls: pairs(calls, "longcat_", "\n"),
        think=lambda text: think(text, "longcat_think"),
        end="</longcat_arg_value>",
    ),
    Hand(
        "kimi_k3",
        "'<|open|>' '<|close|>' '<|sep|>'",
        xtml,
        content=lambda text: f"<|open|>response<|sep|>{text}<|close|>response<|sep|>",
        think=lambda text: f"<|open|>think<|sep|>{text}<|close|>think<|sep|>",
        end="<|close|>argument<|sep|>",
    ),
    Hand(
        "gemma4",
        "'<|tool_call>call:' '<channel|>'",
        lambda calls: gemma(calls, "<|tool_call>", '<|"|>', "<tool_call|>"),
        think=lambda text: f"<|channel>thought\n{text}\n<channel|>",
        end='<|"|>',
    ),
    Hand(
        "function_gemma",
        "<start_function_call>",
        lambda calls: gemma(calls, "<start_function_call>", "<escape>", "<end_function_call>"),
        end="<escape>",
    ),
    Hand("pythonic", "<|tool_list_start|>", pythonic),
    Hand("kimi_k2", "<|tool_calls_section_begin|> </think>", kimi, think=think),
    Hand(
        "deepseek",
        "<｜tool▁calls▁begin｜> </think>",
        lambda calls: deepseek(calls, fenced=False),
        think=think,
    ),
    Hand("deepseek fenced", "<｜tool▁calls▁begin｜>", lambda calls: deepseek(calls, fenced=True)),
    Hand("mistral", "[TOOL_CALLS] [/THINK]", mistral, think=lambda text: f"[THINK]{text}[/THINK]"),
    Hand("mistral list", "[TOOL_CALLS]", lambda calls: f"[TOOL_CALLS][{objects(calls)}]"),
    Hand(
        "harmony",
        "<|channel|>analysis<|message|> <|channel|>final<|message|>",
        harmony,
        content=lambda text: f"<|channel|>final<|message|>{text}<|end|><|start|>assistant",
        think=lambda text: f"<|channel|>analysis<|message|>{text}<|end|><|start|>assistant",
    ),
    Hand(
        "muse_spark",
        "<atem:function_calls> to=self<|message|>",
        muse,
        content=lambda text: f" to=user<|message|>{text}<|eom|><|start|>assistant",
        think=lambda text: f" to=self<|message|>{text}<|eom|><|start|>assistant",
        end="</atem:parameter>",
    ),
]

MEANT: list[tuple[str, Calls]] = [
    ("no arguments", [("now", {})]),
    ("one string", [("weather", {"city": "Oslo"})]),
    ("a string and a number", [("weather", {"city": "São Paulo 東京 🌧", "days": 3})]),
    (
        "every type",
        [("save", {"mode": -7, "ratio": 0.5, "force": False, "owner": None, "tags": ["a", "b"], "text": ""})],
    ),
    ("nested objects", [("save", {"meta": {"deep": {"a": [1, {"b": None}], "c": True}}, "path": "/srv/x"})]),
    ("quotes and backslashes", [("save", {"path": "C:\\new\\table", "text": "say \"hi\" and 'bye'"})]),
    ("lines and tabs", [("save", {"text": "one\n\ttwo\n\nthree"})]),
    ("a page of HTML", [("save", {"text": '<a href="x">1 & 2</a> <p>{"a": [1]}</p> ]}'})]),
    (
        "markers in a string",
        [("save", {"text": "<tool_call> </tool_call> <think> [TOOL_CALLS] <|python_tag|>"})],
    ),
    ("an argument nobody declared", [("weather", {"city": "Oslo", "unit": "metric"})]),
    ("two calls", [("weather", {"city": "Oslo"}), ("now", {})]),
    ("three calls of one tool", [("weather", {"city": city, "days": 1}) for city in ("A", "B", "C")]),
    ("what looks like a number", [("save", {"path": "007", "text": "12"})]),
    ("what looks like null", [("save", {"path": "null", "text": "true"})]),
]


def made(hand: Hand, calls: Calls) -> list[Expected]:
    ids = [
        f"functions.{name}:{at}" if hand.family == "kimi_k2" else None for at, (name, _) in enumerate(calls)
    ]
    return [Made(name, given, id) for (name, given), id in zip(calls, ids, strict=True)]


def cases(hand: Hand) -> list[Case]:
    one: Calls = [("weather", {"city": "Oslo", "days": 2})]
    found = [
        Case(name, hand.template, hand.write(calls), made(hand, calls))
        for name, calls in MEANT
        if not hand.end or hand.end not in str(calls)
    ]
    call = hand.write(one)
    found += [
        Case("content before", hand.template, hand.content("I look.\n\nNow:\n") + call,
             [Content("I look.\n\nNow:"), *made(hand, one)]),
        Case("only content", hand.template, hand.content("a < b, [x] {y} <b>"),
             [Content("a < b, [x] {y} <b>")]),
    ]  # fmt: skip
    if hand.think:
        found += [
            Case("thought and call", hand.template, hand.think("Oslo, or <b>?") + call,
                 [Thought("Oslo, or <b>?"), *made(hand, one)]),
            Case("thought, content and call", hand.template,
                 hand.think("So.\n\nYes.") + hand.content("Wait.") + call,
                 [Thought("So.\n\nYes."), Content("Wait."), *made(hand, one)]),
        ]  # fmt: skip
    return [case._replace(name=f"{hand.family}: {case.name}") for case in found]


CASES = [case for hand in HANDS for case in cases(hand)]
