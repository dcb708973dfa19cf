"""The families of models by how they write calls; the first one whose marks a template has is its.

To add one: write its reader, `read(reading, opened) -> Waiting[bool]`, in the file of its format (or give a
format that is there its strings), and put a row here. A reader yields to wait for text, asks
`reading.begin(name, id)` for a Call once the name is certain, and returns False if what follows the
marker is no call, which is possible only before that; its cases stand in
tests/inference/runner/parsing/cases/<format>.py.
"""

from inference.runner.parsing.reading import Family, Written
from inference.runner.parsing.tools import arg_keys, envelope, gemma, json_calls, llama, named, pythonic, tags

HERMES = Written('<tool_call>\n{"name": "', '", "arguments": ', "}\n</tool_call>", separator="\n")
PLAIN = Written('{"name": "', '", "arguments": ', "}", "[", "]", ", ")

SEED = tags.Tags(
    "<function=", "<parameter=", "</parameter>", "</function>", "<seed:tool_call>", "</seed:tool_call>"
)
CODER = SEED._replace(section="<tool_call>", section_end="</tool_call>")
MINIMAX = tags.Tags(
    "<invoke", "<parameter", "</parameter>", "</invoke>", "<minimax:tool_call>", "</minimax:tool_call>"
)
MINICPM = tags.Tags("<function", "<param", "</param>", "</function>")
MUSE = tags.Tags(
    "<atem:invoke", "<atem:parameter", "</atem:parameter>", "</atem:invoke>",
    "<atem:function_calls>", "</atem:function_calls>",
)  # fmt: skip
DSML = tags.Tags(
    "<｜DSML｜invoke", "<｜DSML｜parameter", "</｜DSML｜parameter>", "</｜DSML｜invoke>",
    "<｜DSML｜function_calls>", "</｜DSML｜function_calls>",
)  # fmt: skip
XTML = tags.Tags(
    "<|open|>call", "<|open|>argument", "<|close|>argument<|sep|>", "<|close|>call<|sep|>",
    "<|open|>tools<|sep|>", "<|close|>tools<|sep|>", "<|sep|>", "<|open|>json", "<|close|>json<|sep|>",
)  # fmt: skip
GRANITE = {"<|tool_call|>": "<|/tool_call|>", "<tool_call>": "</tool_call>"}
# Nemotron 2, Command R7B, MiniMax M1 and Apriel.
LISTS = {
    "<TOOLCALL>": "</TOOLCALL>",
    "<|START_ACTION|>": "<|END_ACTION|>",
    "<tool_calls>": "</tool_calls>",
}

# Of a template without calls; a grammar can make any model write them.
NONE = Family("none", (), (), json_calls.marked({}))
FAMILIES = [
    Family("minimax_m2", (MINIMAX.section,), (MINIMAX.section,), tags.tagged(MINIMAX)),
    Family(
        "muse_spark",
        (MUSE.section,),
        (MUSE.section,),
        tags.tagged(MUSE),
        envelope=envelope.messages(envelope.muse),
    ),
    Family(
        "harmony",
        ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),
        (),
        json_calls.marked({}),
        Written(
            "<|channel|>commentary to=functions.", " <|constrain|>json<|message|>", "<|call|>", separator=None
        ),
        envelope=envelope.messages(envelope.harmony),
    ),
    Family("gemma4", ("<|tool_call>",), ("<|tool_call>",), gemma.called('<|"|>', "<tool_call|>")),
    Family(
        "function_gemma",
        ("<start_function_call>",),
        ("<start_function_call>",),
        gemma.called("<escape>", "<end_function_call>"),
    ),
    Family("longcat", ("<longcat_tool_call>",), ("<longcat_tool_call>",), arg_keys.paired("longcat_")),
    Family("glm47", ("<arg_key>",), ("<tool_call>",), arg_keys.paired()),
    Family(
        "pythonic",
        ("<|tool_list_start|>", "<|tool_call_start|>", '"List of tools: ["'),
        ("<|tool_call_start|>",),
        pythonic.lfm,
    ),
    Family("seed", (SEED.section,), (SEED.section, SEED.call), tags.tagged(SEED)),
    Family(
        "deepseek",
        (named.DEEPSEEK.opens,),
        (named.DEEPSEEK.opens, named.DEEPSEEK.call),
        named.in_section(named.DEEPSEEK, named.deepseek),
        Written(
            named.DEEPSEEK.call,
            named.DEEPSEEK.separator,
            named.DEEPSEEK.call_end,
            named.DEEPSEEK.opens,
            named.DEEPSEEK.closes,
        ),
    ),
    Family("deepseek_dsml", ("｜DSML｜",), (DSML.section,), tags.tagged(DSML)),
    Family(
        "kimi_k2",
        (named.KIMI.opens,),
        (named.KIMI.opens, named.KIMI.call),
        named.in_section(named.KIMI, named.kimi),
        Written(
            f"{named.KIMI.call}functions.",
            f":0{named.KIMI.separator}",
            named.KIMI.call_end,
            named.KIMI.opens,
            named.KIMI.closes,
        ),
    ),
    Family("kimi_k3", ("<|open|>",), (XTML.section,), tags.tagged(XTML)),
    Family("minicpm5", ('<param name="',), (MINICPM.call,), tags.tagged(MINICPM)),
    Family(
        "mistral",
        (named.CALLS,),
        (named.CALLS,),
        named.mistral,
        Written('[TOOL_CALLS][{"name": "', '", "arguments": ', "}]", separator=None),
    ),
    Family(
        "granite",
        ("<|tool_call|>",),
        tuple(GRANITE),
        json_calls.marked(GRANITE),
        Written('{"name": "', '", "arguments": ', "}", "<|tool_call|>[", "]", ", "),
    ),
    Family("json_lists", tuple(LISTS), tuple(LISTS), json_calls.marked(LISTS)),
    Family("qwen3_coder", (CODER.call,), (CODER.section, CODER.call), tags.tagged(CODER)),
    Family(
        "hermes",
        ("<tool_call>",),
        ("<tool_call>",),
        json_calls.marked({"<tool_call>": "</tool_call>"}),
        HERMES,
    ),
    Family(
        "llama3",
        (llama.TAG, '{"name": function name, "parameters": dictionary'),
        (llama.TAG, llama.FUNCTION),
        llama.read,
        Written('{"name": "', '", "parameters": ', "}", separator="; "),
        bare=json_calls.calls,
    ),
]


def family(template: str | None, *, forced: bool = False) -> Family:
    """That of `template`. A forced call is plain JSON where the family has no JSON of its own."""
    found = NONE
    if template:
        found = next((row for row in FAMILIES if any(mark in template for mark in row.told_by)), NONE)
    if not forced or (found and found.written):
        return found
    return (found or NONE)._replace(bare=json_calls.calls)


def written(template: str | None) -> Written:
    """How a grammar makes a model of this template write its calls."""
    return family(template).written or PLAIN
