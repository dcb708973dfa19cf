"""The tools of one turn: what the model is told of them, and which one a call means.

The list that a request carries stays the same for a whole session, because a server keeps the prompt's
beginning and reads it no second time. So the core tools stand in it, and what `tool_search` finds is never
added: a tool's schema comes as the result of the search, and the tool is called through `call_tool`, which
does stand in the list. That passes every server, also one that refuses or constrains names outside of the
list; a model that calls a found tool by its own name is understood as well. `call_tool` is taken off before
anybody decides or runs anything: permission, events and history know the tool itself.

Tools of other programs come and go while a session lives. Its list stays as it was first sent: what went is
said to be away when it is called, and what came is found by searching.
"""

import inspect
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from json import dumps
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from cli.agent.arguments import Schema, coerced, parsed
from cli.agent.dialects import bare_name
from cli.protocol.messages import ToolCall

# Synchronous tools run in a thread, asynchronous ones on the loop.
Tool = Callable[..., Any]
Tools = Mapping[str, Tool]

SEARCH, CALL = "tool_search", "call_tool"
# Results of one search: more schemas than this drown a small model again.
FOUND = 5
# More than these drown a small model.
LISTED = 12


def permitted(tools: Tools, names: Sequence[str] | None) -> Tools:
    """Those of the tools that a session may use: all of them where it names none."""
    return tools if names is None else {name: tool for name, tool in tools.items() if name in names}


def tiers(own: Tools, served: Tools | None) -> tuple[Tools, Tools | None]:
    """Which tools to list, and which are to be searched for: where there are many, all but our core.

    None of the latter where there never will be any; `served` are those of other programs.
    """
    every = {**own, **(served or {})}
    if len(every) <= LISTED:
        return every, None if served is None else {}
    listed = {name: tool for name, tool in own.items() if getattr(tool, "listed", True)}
    return listed, {name: tool for name, tool in every.items() if name not in listed}


class Unfit(ValueError):
    """Arguments that the schema refuses; the message is for the model, and says what to write instead."""


class Offer:
    """A tool as it is offered: a plain function, whose name, signature and docstring are its schema.

    One of another program brings its schema as `parameters`; that program checks what it is given.
    """

    def __init__(self, name: str, tool: Tool, *, listed: bool = True, inner: bool = False) -> None:
        """`listed`: it stands in the requests. `inner`: the loop's own, which nobody is asked for."""
        self.name = name
        self.tool = tool
        self.listed = listed
        self.inner = inner
        # A tool that only reads says so by `mutates = False`.
        self.mutates = not inner and bool(getattr(tool, "mutates", True))
        self.about = inspect.getdoc(tool) or ""
        self.model: type[BaseModel] | None = None
        if given := getattr(tool, "parameters", None):
            self.parameters: Schema = given
        elif isinstance(tool, partial) and not tool.keywords:
            self.model, self.parameters = described(tool.func, len(tool.args))
        elif inspect.ismethod(tool):
            self.model, self.parameters = described(tool.__func__, 1)
        else:
            self.model, self.parameters = described(tool)

    def schema(self) -> dict[str, Any]:
        """The tool as the model is told of it, in OpenAI's form."""
        about = {"name": self.name, "description": self.about, "parameters": self.parameters}
        return {"type": "function", "function": about}

    def fit(self, given: dict[str, Any] | None) -> dict[str, Any]:
        """The arguments as the schema wants them, still plain JSON. Raises Unfit."""
        if given is None:
            raise Unfit(f"The arguments of {self.name} are no JSON object. {self._wanted()}")
        given = coerced(given, self.parameters)
        try:
            self.values(given)
        except ValidationError as error:
            problems = " ".join(problem(each) for each in error.errors(include_url=False))
            raise Unfit(f"Wrong arguments for {self.name}: {problems} {self._wanted()}") from error
        return given

    def values(self, given: dict[str, Any]) -> dict[str, Any]:
        """Fitting arguments as the function takes them."""
        if self.model is None:
            return given
        checked = self.model.model_validate(given)
        return {name: getattr(checked, name) for name in self.model.model_fields}

    def _wanted(self) -> str:
        return f"Its parameters, as JSON Schema: {dumps(self.parameters, ensure_ascii=False)}"


@lru_cache(maxsize=256)
def described(tool: Tool, bound: int = 0) -> tuple[type[BaseModel], Schema]:
    """A pydantic model of the parameters, which checks what the model sends, and its schema.

    The first `bound` are not the model's. Made once for all sessions that bind a tool: it takes a
    millisecond or two, in which nothing else runs.
    """
    parameters = list(inspect.signature(tool, eval_str=True).parameters.items())[bound:]
    fields: dict[str, Any] = {
        name: (each.annotation, ... if each.default is each.empty else each.default)
        for name, each in parameters
    }
    name = getattr(tool, "__name__", "tool")
    model = create_model(name, __config__=ConfigDict(extra="forbid"), **fields)
    return model, untitled(model.model_json_schema())


def untitled(schema: Any) -> Any:
    """Without pydantic's titles, which repeat the names and cost tokens in every prompt."""
    if isinstance(schema, list):
        return [untitled(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: untitled(each) for key, each in schema.items() if not (key == "title" and isinstance(each, str))
    }


def problem(error: Any) -> str:
    """One thing that is wrong, with the parameter's name."""
    where = ".".join(str(part) for part in error["loc"])
    what = {"missing": "it is missing.", "extra_forbidden": "there is no such parameter."}
    return f"{where}: {what.get(error['type'], error['msg'] + '.')}"


class Catalog:
    """The tools by name: those the model sees (`core`), and those it can search for (`more`)."""

    def __init__(
        self, core: Tools, more: Tools | None = None, schemas: Sequence[dict[str, Any]] | None = None
    ) -> None:
        """`more` is None where there never will be any. `schemas` is the list that the session was told."""
        ways: Tools = {SEARCH: self.tool_search, CALL: self.call_tool}
        if schemas is not None:
            told = set(map(name_of, schemas))
            tools = {**core, **(more or {})}
            core = {name: tool for name, tool in tools.items() if name in told}
            more = {name: tool for name, tool in tools.items() if name not in told}
            ways = {name: way for name, way in ways.items() if name in told}
        elif more is None:
            ways = {}
        self.more = {name: Offer(name, tool, listed=False) for name, tool in (more or {}).items()}
        self.core = {name: Offer(name, tool) for name, tool in core.items()}
        self.core |= {name: Offer(name, tool, inner=True) for name, tool in ways.items()}
        self.offers = {**self.core, **self.more}
        spellings = Counter(map(plain, self.offers))
        self.alike = {plain(name): name for name in self.offers if spellings[plain(name)] == 1}
        self.schemas = [offer.schema() for offer in self.core.values()] if schemas is None else list(schemas)
        self.offered = {name: offer.parameters for name, offer in self.offers.items()}

    def tool(self, name: str) -> Tool | None:
        """What a call of this name runs."""
        offer = self.offers.get(name)
        return offer.tool if offer else None

    def meant(self, call: ToolCall) -> ToolCall:
        """The call without what only carried it: a namespace, or `call_tool`."""
        call = call.model_copy(update={"name": self._known(call.name)})
        if call.name != CALL or CALL not in self.core:
            return call
        given = parsed(call.arguments) or {}
        name, inner = given.get("name"), given.get("arguments", {})
        if not isinstance(name, str):
            return call
        text = inner if isinstance(inner, str) else dumps(inner)
        return call.model_copy(update={"name": self._known(name), "arguments": text})

    def unknown(self, name: str) -> str:
        there = f"There are: {', '.join(self.core) or 'none'}."
        if name in map(name_of, self.schemas):
            return f"The tool {name!r} is away: what has it does not run now. {there}"
        return f"There is no tool {name!r}. {there}"

    def tool_search(
        self, query: Annotated[str, Field(description="What the tool should do, in a few words.")]
    ) -> str:
        """Find more tools than those you see. Gives their names and parameters; call them by call_tool."""
        ranked = sorted(self.more.values(), key=lambda offer: -relevance(query, offer))
        found = [offer for offer in ranked if relevance(query, offer)][:FOUND]
        if not found:
            return f"No tool is about {query!r}. There are: {', '.join(self.more) or 'none'}."
        lines = [dumps(offer.schema()["function"], ensure_ascii=False) for offer in found]
        return "\n".join([*lines, f'Call one by {CALL} with {{"name": …, "arguments": {{…}}}}.'])

    def call_tool(
        self,
        name: Annotated[str, Field(description="The name of a tool that tool_search found.")],
        arguments: Annotated[dict[str, Any], Field(description="Its arguments.")],
    ) -> str:
        """Call a tool that tool_search found."""
        raise AssertionError("`meant` takes this off")

    def _known(self, name: str) -> str:
        """The tool's own name, where it is spelt a little differently and only one can be meant."""
        bare = bare_name(name.split("<|")[0])  # gpt-oss: read_file<|channel|>commentary
        exact = (each for each in (name, bare) if each in self.offers)
        return next(exact, self.alike.get(plain(bare), name))


def name_of(schema: Mapping[str, Any]) -> str:
    return str(schema["function"]["name"])


def plain(name: str) -> str:
    """What `read_file`, `Read-File` and `readFile` have in common."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def relevance(query: str, offer: Offer) -> float:
    """How many of the query's words the tool's name and description have; its name counts three times."""
    words, name, about = tokens(query), tokens(offer.name), tokens(offer.about)
    return 3 * len(words & name) + len(words & about)


def tokens(text: str) -> set[str]:
    """The words of a text, without the endings that tell `file` from `files`."""
    words = re.findall(r"[a-z0-9]+", text.lower())
    return {word.removesuffix("s") for word in words if len(word) > 1}
