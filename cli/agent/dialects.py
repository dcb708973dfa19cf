"""How the families of models write calls as text, one reader for each form.

Hermes, Qwen       <tool_call>{"name": …, "arguments": …}</tool_call>
Qwen 3 Coder       <tool_call><function=NAME><parameter=KEY>VALUE</parameter></function></tool_call>
GLM                <tool_call>NAME<arg_key>KEY</arg_key><arg_value>VALUE</arg_value></tool_call>
Llama 3            <|python_tag|>{"name": …, "parameters": …}; …  and  <function=NAME>{…}</function>
Mistral            [TOOL_CALLS][{"name": …, "arguments": …}]  and  [TOOL_CALLS]NAME[ARGS]{…}
DeepSeek           <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>NAME ```json {…} ```…
MiniMax, Claude    <invoke name="NAME"><parameter name="KEY">VALUE</parameter></invoke>
gpt-oss            <|channel|>commentary to=functions.NAME <|constrain|>json<|message|>{…}<|call|>
any, as a whole    {"name": …, "arguments": …}, a fenced block of that, NAME(key=value), [NAME(…), …]

A reader takes a Cursor behind where its form may begin, and gives the calls it read, none when it is not one.
"""

import ast
import re
import warnings
from collections.abc import Callable, Mapping
from json import JSONDecoder, dumps
from typing import Any, NamedTuple

from cli.agent.arguments import Schema, no_constant, repaired

# The tools that may be called, with the schema of their parameters.
Offered = Mapping[str, Schema]

NAMES = ("name", "tool_name", "tool", "function")
ARGUMENTS = ("arguments", "parameters", "args")
KNOWN = {*NAMES, *ARGUMENTS, "id", "type", "tool_call_id"}
# The names of tools stand in them in some templates.
NAMESPACES = ("", "functions.", "default_api.")
DECODER = JSONDecoder(strict=False, parse_constant=no_constant)
# Longer than any call that is written in Python; reading more takes time for nothing.
PYTHON_LIMIT = 20_000

NAME = r"[\w.:/@-]{1,128}"


class Wanted(NamedTuple):
    """A call as it was written; `arguments` is JSON or nearly."""

    name: str
    arguments: str


class Cursor:
    """A place in a text, and what stands there."""

    def __init__(self, text: str, at: int, offered: Offered) -> None:
        self.text, self.at, self.offered = text, at, offered

    def skip(self, pattern: str) -> re.Match[str] | None:
        """Go behind `pattern` and the space before it, if it stands here."""
        found = re.compile(rf"\s*(?:{pattern})", re.DOTALL).match(self.text, self.at)
        self.at = found.end() if found else self.at
        return found

    def ended(self) -> bool:
        return not self.text[self.at :].strip()

    def json(self, end: str = "") -> Any:
        """The object or list that stands here; one that is broken reaches to `end`, or to the text's."""
        self.skip("")
        if self.text[self.at : self.at + 1] not in ("{", "["):
            return None
        try:
            found, self.at = DECODER.raw_decode(self.text, self.at)
            return found
        except (ValueError, RecursionError):
            stop = self.text.find(end, self.at) if end else -1
            near = self.text[self.at : stop if stop >= 0 else len(self.text)].rstrip("` \n")
            if stop < 0 and near[-1:] not in "}]":
                return None
            self.at += len(near)
            return repaired(near)


Reader = Callable[[Cursor], list[Wanted]]


def several(cursor: Cursor, one: Reader) -> list[Wanted]:
    """As many as stand one behind the other."""
    found: list[Wanted] = []
    while more := one(cursor):
        found += more
    return found


def objects(value: Any, *, bare: bool = False) -> list[Wanted]:
    """The calls of an object or a list of them, when all are calls; a bare one must name its arguments."""
    rows = value if isinstance(value, list) else [value]
    calls = [called(row, bare=bare) for row in rows]
    return [call for call in calls if call] if all(calls) else []


def called(row: Any, *, bare: bool) -> Wanted | None:
    if isinstance(row, dict) and isinstance(row.get("function"), dict) and not row.keys() - KNOWN:
        row = row["function"]
    if not isinstance(row, dict) or row.keys() - KNOWN:
        return None
    names = [row[key] for key in NAMES if key in row]
    given = [row[key] for key in ARGUMENTS if key in row]
    if len(names) != 1 or not isinstance(names[0], str) or len(given) > 1 or (bare and not given):
        return None
    arguments = given[0] if given and given[0] is not None else {}
    return Wanted(names[0], arguments if isinstance(arguments, str) else dumps(arguments))


def hermes(cursor: Cursor) -> list[Wanted]:
    start = cursor.at
    if cursor.skip("<tool_call>"):
        found = objects(cursor.json("</tool_call>")) or function(cursor) or glm(cursor)
        if found:
            cursor.skip("</tool_call>")
            return found
    cursor.at = start
    return []


def glm(cursor: Cursor) -> list[Wanted]:
    name = cursor.skip(rf"({NAME})(?=\s*(?:<arg_key>|</tool_call>))")
    if not name:
        return []
    given = {}
    while pair := cursor.skip(r"<arg_key>(.*?)</arg_key>\s*<arg_value>(.*?)</arg_value>"):
        given[pair[1].strip()] = pair[2]
    return [Wanted(name[1], dumps(given))]


def function(cursor: Cursor) -> list[Wanted]:
    """Qwen's and Llama's: parameters in tags, or as one object."""
    head = cursor.skip(rf"<function=({NAME})>")
    if not head:
        return []
    found = closed(cursor, head[1], r"<parameter=([^>\n]+)>(.*?)</parameter>", "</function>")
    cursor.skip("</tool_call>")
    return found


def invoke(cursor: Cursor) -> list[Wanted]:
    cursor.skip(r"<(?:[\w-]+:)?(?:tool_call|function_calls)>")
    head = cursor.skip(rf"""<invoke name=["']?({NAME})["']?>""")
    if not head:
        return []
    found = closed(
        cursor, head[1], r"""<parameter name=["']?([^"'>\n]+)["']?>(.*?)</parameter>""", "</invoke>"
    )
    cursor.skip(r"</(?:[\w-]+:)?(?:tool_call|function_calls)>")
    return found


def closed(cursor: Cursor, name: str, parameter: str, end: str) -> list[Wanted]:
    """A call of parameters up to `end`. A value's first and last line break are the format's."""
    if (value := cursor.json(end)) is not None:
        given = value
    else:
        given = {}
        while pair := cursor.skip(parameter):
            given[pair[1].strip()] = pair[2].removeprefix("\n").removesuffix("\n")
    if not cursor.skip(end) and not given:
        return []
    return [Wanted(name, dumps(given))]


def llama(cursor: Cursor) -> list[Wanted]:
    if not cursor.skip(r"<\|python_tag\|>|;"):
        return []
    found = objects(cursor.json()) or python(cursor)
    cursor.skip(r"<\|(?:eom_id|eot_id)\|>")
    return found


def mistral(cursor: Cursor) -> list[Wanted]:
    if not cursor.skip(r"\[TOOL_CALLS\]"):
        return []
    if name := cursor.skip(rf"({NAME})(?:\[CALL_ID\]\w+)?(?:\[ARGS\])?(?=\s*\{{)"):
        return [Wanted(name[1], dumps(cursor.json("[TOOL_CALLS]")))]
    return objects(cursor.json())


def deepseek(cursor: Cursor) -> list[Wanted]:
    cursor.skip("<｜tool▁calls▁begin｜>")
    head = cursor.skip(rf"<｜tool▁call▁begin｜>(?:function<｜tool▁sep｜>)?({NAME})(?:<｜tool▁sep｜>)?")
    if not head:
        return []
    cursor.skip("```json")
    given = cursor.json("<｜tool▁call▁end｜>")
    cursor.skip("```")
    ended = cursor.skip("<｜tool▁call▁end｜>")
    cursor.skip("<｜tool▁calls▁end｜>(?:<｜end▁of▁sentence｜>)?")
    return [Wanted(head[1], dumps(given or {}))] if ended or given else []


def harmony(cursor: Cursor) -> list[Wanted]:
    cursor.skip(r"<\|start\|>assistant")
    head = cursor.skip(
        rf"<\|channel\|>\w+ to=functions\.({NAME})\s*(?:<\|constrain\|>)?(?:json)?<\|message\|>"
    )
    given = cursor.json("<|call|>") if head else None
    cursor.skip(r"<\|call\|>")
    return [Wanted(head[1], dumps(given))] if head and given is not None else []


def fenced(cursor: Cursor) -> list[Wanted]:
    fence = cursor.skip(r"```(json|tool_call|tool_code)?[ \t]*\n")
    if not fence:
        return []
    found = python(cursor, "```") if fence[1] == "tool_code" else objects(cursor.json("```"), bare=True)
    return found if found and cursor.skip("```") else []


def bare(cursor: Cursor) -> list[Wanted]:
    return objects(cursor.json(), bare=True)


def python(cursor: Cursor, end: str = "") -> list[Wanted]:
    """One call or a list of them, with literals as arguments, up to `end` or the text's."""
    stop = cursor.text.find(end, cursor.at) if end else len(cursor.text)
    code = cursor.text[cursor.at : stop].strip()
    if stop < 0 or len(code) > PYTHON_LIMIT or not re.match(rf"\[?\s*{NAME}\s*\(", code):
        return []
    try:
        with warnings.catch_warnings(action="ignore"):  # a model's backslashes are not ours to fix
            tree = ast.parse(code, mode="eval").body
        nodes = tree.elts if isinstance(tree, ast.List) else [tree]
        found = [expression(node, cursor.offered) for node in nodes]
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return []
    cursor.at = stop
    return found


def expression(node: ast.expr, offered: Offered) -> Wanted:
    """`node` as a call. Raises ValueError when it is none, or computes something."""
    if not isinstance(node, ast.Call) or any(keyword.arg is None for keyword in node.keywords):
        raise ValueError("no call")
    name = ast.unparse(node.func)
    keys = list(offered.get(bare_name(name), {}).get("properties", ()))
    if len(node.args) > len(keys):
        raise ValueError("more arguments than parameters")
    given = {key: ast.literal_eval(each) for key, each in zip(keys, node.args, strict=False)}
    given |= {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in node.keywords}
    return Wanted(name, dumps(given, allow_nan=False))


def bare_name(name: str) -> str:
    """Without the namespace in which some templates show tools."""
    for space in NAMESPACES:
        name = name.removeprefix(space)
    return name


class Form(NamedTuple):
    """What a form begins with, what must follow for it to be one, and its reader.

    `own_line`: the mark is no special token, so that prose may hold it; only a line's beginning counts.
    """

    mark: str
    follows: str
    read: Reader
    own_line: bool = False


FORMS = (
    Form("<tool_call>", rf"[{{\[]|<function=|{NAME}\s*<", hermes, own_line=True),
    Form("<function=", rf"{NAME}>", function, own_line=True),
    Form("<minimax:tool_call>", "<invoke", invoke, own_line=True),
    Form("<function_calls>", "<invoke", invoke, own_line=True),
    Form("<invoke name=", rf"""["']?{NAME}["']?>""", invoke, own_line=True),
    Form("<|python_tag|>", "", llama),
    Form("[TOOL_CALLS]", "", mistral),
    Form("<｜tool▁calls▁begin｜>", "", deepseek),
    Form("<｜tool▁call▁begin｜>", "", deepseek),
    Form("<|channel|>commentary to=functions.", "", harmony),
)
# These are the whole answer or nothing: people write such things in prose.
WHOLE = (bare, fenced, python)
