"""How each family of models writes a tool call: what a grammar makes, and what the family's parser reads.

Only families that write arguments as JSON have a layout; a grammar makes the others write PLAIN calls.
"""

from typing import NamedTuple

# In `call`: the tool's name, its arguments as JSON, and the call's number.
NAME, ARGUMENTS, NUMBER = "{name}", "{arguments}", "{number}"


class Layout(NamedTuple):
    """Calls in one answer: `opening`, calls with `between` between them, `closing`."""

    call: str
    opening: str = ""
    between: str = ""
    closing: str = ""
    # The text that a call is known by, before anything else of it; "" when it just begins.
    marker: str = ""
    # What stands before an answer that is no call.
    content: str = ""
    # What stands between reasoning and what comes after it.
    resumes: str = ""
    # Whether one answer may hold several calls.
    several: bool = True


OBJECT = '{"name": "{name}", "arguments": {arguments}}'
PLAIN = Layout(OBJECT)
PLAIN_LIST = Layout(OBJECT, opening="[", between=", ", closing="]")
HERMES = Layout(f"<tool_call>\n{OBJECT}\n</tool_call>", between="\n", marker="<tool_call>")
LONGCAT = Layout(
    f"<longcat_tool_call>\n{OBJECT}\n</longcat_tool_call>", between="\n", marker="<longcat_tool_call>"
)
LLAMA = Layout('{"name": "{name}", "parameters": {arguments}}', between="; ")
MISTRAL = Layout(OBJECT, opening="[TOOL_CALLS][", between=", ", closing="]", marker="[TOOL_CALLS]")
MISTRAL_NAMED = Layout("[TOOL_CALLS]{name}[ARGS]{arguments}", marker="[TOOL_CALLS]")
GRANITE = Layout(OBJECT, opening="<|tool_call|>[", between=", ", closing="]", marker="<|tool_call|>")
DEEPSEEK = Layout(
    "<｜tool▁call▁begin｜>function<｜tool▁sep｜>{name}\n```json\n{arguments}\n```<｜tool▁call▁end｜>",
    opening="<｜tool▁calls▁begin｜>",
    between="\n",
    closing="<｜tool▁calls▁end｜>",
    marker="<｜tool▁calls▁begin｜>",
)
DEEPSEEK_NAMED = DEEPSEEK._replace(
    call="<｜tool▁call▁begin｜>{name}<｜tool▁sep｜>{arguments}<｜tool▁call▁end｜>", between=""
)
KIMI = Layout(
    "<|tool_call_begin|>functions.{name}:{number}<|tool_call_argument_begin|>{arguments}<|tool_call_end|>",
    opening="<|tool_calls_section_begin|>",
    closing="<|tool_calls_section_end|>",
    marker="<|tool_calls_section_begin|>",
)
# Its calls end with <|call|>, which ends the answer.
HARMONY = Layout(
    "<|channel|>commentary to=functions.{name} <|constrain|>json<|message|>{arguments}",
    marker="<|channel|>commentary",
    content="<|channel|>final<|message|>",
    resumes="<|start|>assistant",
    several=False,
)

# The first family all of whose words are in the template; None for those that write no JSON.
FAMILIES: tuple[tuple[tuple[str, ...], Layout | None], ...] = (
    (("<|channel|>", "to=functions."), HARMONY),
    (("<|tool_calls_section_begin|>",), KIMI),
    (("<｜tool▁calls▁begin｜>", "```json"), DEEPSEEK),
    (("<｜tool▁calls▁begin｜>",), DEEPSEEK_NAMED),
    (("<longcat_tool_call>", "arg_key"), None),
    (("<longcat_tool_call>",), LONGCAT),
    (("[TOOL_CALLS]", "[ARGS]"), MISTRAL_NAMED),
    (("[TOOL_CALLS]",), MISTRAL),
    (("<|tool_call|>",), GRANITE),
    (("<function=",), None),
    (("<arg_key>",), None),
    (("<tool_call>",), HERMES),
    (("<|python_tag|>", '"parameters"'), LLAMA),
    (("Environment: ipython", '"parameters"'), LLAMA),
)


def layout(template: str | None) -> Layout | None:
    for words, found in FAMILIES:
        if template and all(word in template for word in words):
            return found
    return None
