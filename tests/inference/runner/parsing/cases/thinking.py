"""Reasoning: where it begins and ends, in every family's markers, and answers made of messages."""

from inference.runner.parsing.pieces import Content, Thought
from tests.inference.runner.parsing.case import Case, Made

QWEN = "{%- if '</think>' in content %} '<think>\\n' '<tool_call>'"
R1 = "{% if '</think>' in content %} '<｜Assistant｜>' '<｜tool▁calls▁begin｜>'"
GEMMA = "'<|channel>thought\\n' '<channel|>' '<|tool_call>'"
KIMI = "'<|open|>' '<|close|>' '<|sep|>'"
HARMONY = '"<|channel|>analysis<|message|>" "<|channel|>final<|message|>"'
MUSE = "'<|start|>assistant to=self<|message|>' '<atem:function_calls>'"
OPEN = "<|im_start|>assistant\n<think>\n"
ASKED = "<|im_start|>user\nWhat is <think>?<|im_end|>\n<|im_start|>assistant\n"
NOW = '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'
F = "<|start|>assistant<|channel|>final<|message|>"

CASES = [
    Case("thought", QWEN, "<think>\nSo.\n</think>\n\nYes.", [Thought("So."), Content("Yes.")]),
    Case("thought the prompt opened", QWEN, "So.\n</think>\n\nYes.", [Thought("So."), Content("Yes.")],
         prompt=OPEN),
    Case("opened twice", QWEN, "<think>\nSo.\n</think>\n\nYes.", [Thought("So."), Content("Yes.")],
         prompt=OPEN),
    Case("a prompt that closed it", QWEN, "Yes.", [Content("Yes.")], prompt=OPEN + "\n</think>\n\n"),
    Case("a prompt that only names it", QWEN, "A tag.", [Content("A tag.")], prompt=ASKED),
    Case("a thought that goes on", QWEN, " and so.\n</think>\nYes.", [Thought("and so."), Content("Yes.")],
         prompt=OPEN + "First"),
    Case("no end", QWEN, "<think>\nSo. And", [Thought("So. And")]),
    Case("no end, white space", QWEN, "<think>\nSo.\n\n", [Thought("So.\n\n")]),
    Case("nothing thought", QWEN, "<think>\n\n</think>\n\nYes.", [Content("Yes.")]),
    Case("nothing thought, opened", QWEN, "\n</think>\n\nYes.", [Content("Yes.")], prompt=OPEN),
    Case("no thought at all", QWEN, "Yes.", [Content("Yes.")]),
    Case("no opening", QWEN, "So.\n</think>\n\nYes.", [Content("So.Yes.")]),
    Case("the closing tag as text", QWEN, "<think>So.</think>The </think> tag.",
         [Thought("So."), Content("The </think> tag.")]),
    Case("the opening tag as text", QWEN, "The <think> and </think> tags.",
         [Content("The <think> and </think> tags.")]),
    Case("the beginning of a tag", QWEN, "<think>a </thin b</think>c </thi",
         [Thought("a </thin b"), Content("c </thi")]),
    Case("tags inside a thought", QWEN, "<think>a <b> <think> c</think>d",
         [Thought("a <b> <think> c"), Content("d")]),
    Case("an indented answer", QWEN, "<think>a</think>\n\n    code", [Thought("a"), Content("    code")]),
    Case("thought and call", QWEN, "<think>\na\n</think>\n\n" + NOW, [Thought("a"), Made("now", "{}")]),
    Case("a call that ends a thought", QWEN, "<think>\na\n" + NOW, [Thought("a"), Made("now", "{}")]),
    Case("a call in a thought, not offered", QWEN, "<think>a" + NOW.replace("now", "fly") + "</think>b",
         [Thought("a" + NOW.replace("now", "fly")), Content("b")]),
    Case("a marker in a thought", QWEN, "<think>a <tool_call> b</think>c",
         [Thought("a <tool_call> b"), Content("c")]),
    Case("thought after a call", QWEN, NOW + "\n<think>\nb\n</think>\n\nc",
         [Made("now", "{}"), Thought("b"), Content("c")]),
    Case("thought without tools", QWEN, "<think>a</think>" + NOW, [Thought("a"), Content(NOW)], tools=[]),
    Case("r1 that opens nothing", R1, "a\n</think>\n\nb", [Thought("a"), Content("b")],
         prompt="x<｜Assistant｜>"),
    Case("r1 that opens", R1, "<think>\na\n</think>\n\nb", [Thought("a"), Content("b")],
         prompt="x<｜Assistant｜>"),
    Case("seed", "'</seed:think>'", "<seed:think>a</seed:think>b", [Thought("a"), Content("b")]),
    Case("longcat", "</longcat_think>", "<longcat_think>a</longcat_think>b", [Thought("a"), Content("b")]),
    Case("bars", "<|think:end|>", "<|think:start|>a<|think:end|>b", [Thought("a"), Content("b")]),
    Case("mistral", "'[THINK]' + x + '[/THINK]'", "[THINK]a [b][/THINK]c", [Thought("a [b]"), Content("c")]),
    Case("command r", "<|END_THINKING|>",
         "<|START_THINKING|>a<|END_THINKING|><|START_RESPONSE|>b<|END_RESPONSE|>",
         [Thought("a"), Content("b")]),
    Case("granite", "<think></think> <response></response>", "<think>a</think>\n<response>b</response>",
         [Thought("a"), Content("b")]),
    Case("gemma", GEMMA, "<|channel>thought\na\n<channel|>b", [Thought("a"), Content("b")]),
    Case("gemma again", GEMMA, "<|channel>thought\na\n<channel|>b<|channel>thought\nc\n<channel|>d",
         [Thought("a"), Content("b"), Thought("c"), Content("d")]),
    Case("gemma with nothing thought", GEMMA, "<|channel>thought\n<channel|>b", [Content("b")]),
    Case("kimi", KIMI, "a<|close|>think<|sep|><|open|>response<|sep|>b<|close|>response<|sep|>",
         [Thought("a"), Content("b")],
         prompt='<|open|>message role="assistant"<|sep|><|open|>think<|sep|>'),
    Case("kimi without thought", KIMI, "b<|close|>response<|sep|>", [Content("b")],
         prompt='<|open|>message role="assistant"<|sep|><|open|>response<|sep|>'),
    Case("harmony, final", HARMONY, "<|channel|>final<|message|>b", [Content("b")],
         prompt="<|start|>assistant"),
    Case("harmony, both", HARMONY, f"<|channel|>analysis<|message|>a<|end|>{F}b",
         [Thought("a"), Content("b")]),
    Case("harmony, a preamble", HARMONY,
         "<|channel|>commentary<|message|>I look.<|end|><|start|>assistant"
         "<|channel|>commentary to=functions.now "
         "<|constrain|>json<|message|>{}<|call|>", [Content("I look."), Made("now", "{}")]),
    Case("harmony, two contents", HARMONY, f"<|channel|>commentary<|message|>a<|end|>{F}b",
         [Content("a\n\nb")]),
    Case("harmony, two thoughts", HARMONY,
         f"<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>analysis<|message|>b<|end|>"
         f"{F}c",
         [Thought("a\n\nb"), Content("c")]),
    Case("harmony, the recipient first", HARMONY,
         ' to=functions.weather<|channel|>commentary json<|message|>{"city": "Oslo"}',
         [Made("weather", '{"city": "Oslo"}')]),
    Case("harmony, no constraint named", HARMONY,
         '<|channel|>commentary to=functions.weather<|message|>{"days": "2"}<|call|>',
         [Made("weather", '{"days": 2}')]),
    Case("harmony, a call in analysis", HARMONY, "<|channel|>analysis to=functions.now<|message|>{}",
         [Made("now", "{}")]),
    Case("harmony, its own python", HARMONY, "<|channel|>analysis to=python code<|message|>print(1)",
         [Thought("print(1)")]),
    Case("harmony, thought and call", HARMONY,
         "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>commentary to=functions.now"
         "<|message|>{}<|call|>",
         [Thought("a"), Made("now", "{}")]),
    Case("harmony without tools", HARMONY,
         '<|channel|>commentary to=functions.now<|message|>{"a": 1}<|call|>',
         [Content('{"a": 1}')], tools=[]),
    Case("harmony without a header", HARMONY, "Yes.", [Content("Yes.")]),
    Case("harmony with a header in the prompt", HARMONY, "Yes.", [Content("Yes.")], prompt=F),
    Case("harmony, cut off in a header", HARMONY, "<|channel|>analysis<|message|>a<|end|><|start|>assis",
         [Thought("a")]),
    Case("harmony, cut off in a call", HARMONY,
         '<|channel|>commentary to=functions.weather<|message|>{"city": "Os',
         [Made("weather", '{"city": "Os"}')]),
    Case("harmony, no end of the thought", HARMONY, f"<|channel|>analysis<|message|>a{F}b",
         [Thought("a"), Content("b")]),
    Case("harmony, tags are text", HARMONY, f"{F}<think>a</think> <tool_call>",
         [Content("<think>a</think> <tool_call>")]),
    Case("muse", MUSE, " to=self<|message|>a<|eom|><|start|>assistant to=user<|message|>b",
         [Thought("a"), Content("b")]),
    Case("muse, a call among thoughts", MUSE,
         ' to=self<|message|>a<atem:function_calls><atem:invoke name="now"></atem:invoke>'
         "</atem:function_calls>b<|eom|>"
         "<|start|>assistant to=user<|message|>c", [Thought("a"), Made("now", "{}"), Content("b\n\nc")]),
    Case("muse with nothing to say", MUSE, " to=user<|message|>a<|eom|><|start|>assistant to=user<|message|>",
         [Content("a")]),
    Case("muse without a recipient", MUSE, "<|message|>b<|eot|>", [Content("b")]),
]  # fmt: skip
