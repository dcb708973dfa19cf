"""The families of models by how they write calls; the first one whose marks a template has is its.

To add one: write its reader, `read(reading, opened) -> Waiting[bool]`, in the file of its format (or give a
format that is there its strings), and put a row here. A reader yields to wait for text, asks
`reading.begin(name, id)` for a Call once the name is certain, and returns False if what follows the
marker is no call, which is possible only before that; its cases stand in
tests/inference/runner/parsing/cases/<format>.py.
"""

from inference.runner.parsing.reading import Family, Written
from inference.runner.parsing.tools import json_calls, tags

HERMES = Written('<tool_call>\n{"name": "', '", "arguments": ', "}\n</tool_call>", separator="\n")
PLAIN = Written('{"name": "', '", "arguments": ', "}", "[", "]", ", ")

MINIMAX = tags.Tags(
    "<invoke", "<parameter", "</parameter>", "</invoke>", "<minimax:tool_call>", "</minimax:tool_call>"
)
DSML = tags.Tags(
    "<｜DSML｜invoke", "<｜DSML｜parameter", "</｜DSML｜parameter>", "</｜DSML｜invoke>",
    "<｜DSML｜function_calls>", "</｜DSML｜function_calls>",
)  # fmt: skip
SEED = tags.Tags(
    "<function=", "<parameter=", "</parameter>", "</function>", "<seed:tool_call>", "</seed:tool_call>"
)
CODER = SEED._replace(section="<tool_call>", section_end="</tool_call>")

# Of a template without calls; a grammar can make any model write them.
NONE = Family("none", (), (), json_calls.marked({}))
FAMILIES = [
    Family("minimax_m2", (MINIMAX.section,), (MINIMAX.section,), tags.read(MINIMAX)),
    Family(
        "hermes",
        ("<tool_call>",),
        ("<tool_call>",),
        json_calls.marked({"<tool_call>": "</tool_call>"}),
        HERMES,
    ),
]


def family(template: str | None, *, forced: bool = False) -> Family:
    """That of `template`. A forced call is plain JSON where the family has no JSON of its own."""
    found = NONE
    if template:
        found = next((row for row in FAMILIES if all(mark in template for mark in row.told_by)), NONE)
    if not forced or (found and found.written):
        return found
    return (found or NONE)._replace(bare=json_calls.calls)


def written(template: str | None) -> Written:
    """How a grammar makes a model of this template write its calls."""
    return family(template).written or PLAIN
