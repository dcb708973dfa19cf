"""A model's family is told by its chat template, and what a grammar writes for it is what it reads."""

import pytest

from inference.runner.parsing import reasoning
from inference.runner.parsing.pieces import Content
from inference.runner.parsing.tools.families import FAMILIES, PLAIN, family, written
from tests.inference.runner.parsing.case import Case, Made, gathered, said

THINK = ("<think>", "</think>")
CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content']"
    " + '<|im_end|>\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# A line of each model's own template that no other family's has.
LINES = [
    ("ChatML", CHATML, "none", None),
    ("Gemma 2", "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}",
     "none", None),
    ("Phi 3.5", "{{'<|user|>\n' + message['content'] + '<|end|>\n'}}", "none", None),
    ("Qwen 2.5", "{{- '\\n<tool_call>\\n{\"name\": \"' }}{{- tool_call.name }}", "hermes", None),
    ("Qwen 3", "{{- '<tool_call>\\n{\"name\": \"' }} {%- if '</think>' in content %}", "hermes", THINK),
    ("Hermes 3", "{{- '\\n<tool_call>\\n' }}{{- tool_call|tojson }}{{- '\\n</tool_call>' }}", "hermes", None),
    ("Granite 4", "{{- '<tool_call>\\n{\"name\": \"' }}{{- tool_call.name }}", "hermes", None),
    ("Granite 3.3", "respond only with <|tool_call|> followed by a JSON list. Write your thoughts between"
     " <think></think> and your response between <response></response>", "granite", THINK),
    ("Qwen 3 Coder", "{{- '\\n<tool_call>\\n<function=' + tool_call.name + '>\\n' }}", "qwen3_coder", None),
    ("Nemotron 3", "<tool_call>\n<function=example_function_name>\n<parameter=example_parameter_1>",
     "qwen3_coder", None),
    ("Nemotron Nano 2", "{{- '<TOOLCALL>[' -}}{%- if content and '</think>' in content %}",
     "json_lists", THINK),
    ("Command R7B", "Action: write <|START_ACTION|> followed by a list <|END_THINKING|>", "json_lists",
     ("<|START_THINKING|>", "<|END_THINKING|>")),
    ("Seed OSS", "{%- set toolcall_begin_token   = '<seed:tool_call>' -%} '</seed:think>' <function=", "seed",
     ("<seed:think>", "</seed:think>")),
    ("MiniMax M2", "{%- set toolcall_begin_token = '<minimax:tool_call>' -%} '</think>'",
     "minimax_m2", THINK),
    ("MiniCPM 5", '<function name="function-name"><param name="param-name">param-value</param></function>',
     "minicpm5", None),
    ("Muse", "'<|start|>assistant to=self<|message|>' + '<atem:function_calls>\n'", "muse_spark",
     (" to=self<|message|>", "<|eom|>")),
    ("GLM 4.6", "{{ '\\n<tool_call>' + tc.name }}<arg_key>{{ k }}</arg_key> '</think>'", "glm47", THINK),
    ("Laguna", "<tool_call>{{ name }}<arg_key>{{ k }}</arg_key>", "glm47", None),
    ("LongCat", "<longcat_tool_call>{name}<longcat_arg_key> </longcat_think>", "longcat",
     ("<longcat_think>", "</longcat_think>")),
    ("LFM2", '"List of tools: <|tool_list_start|>["', "pythonic", None),
    ("LFM2.5", 'ns.system_prompt + ("\\n" if ns.system_prompt else "") + "List of tools: ["',
     "pythonic", None),
    ("Gemma 4", "{{- '<|tool_call>call:' + function['name'] + '{' -}} '<|channel>thought\\n' '\\n<channel|>'",
     "gemma4", ("<|channel>thought", "<channel|>")),
    ("FunctionGemma", "{{- '<start_function_call>call:' + function['name'] -}}", "function_gemma", None),
    ("Kimi K2", "{{render_content(message)}}<|tool_calls_section_begin|>", "kimi_k2", None),
    ("Kimi K3", "{{- '<|open|>' + tag -}}{{- '<|sep|>' -}}{{- '<|close|>' + tag + '<|sep|>' -}}", "kimi_k3",
     ("<|open|>think<|sep|>", "<|close|>think<|sep|>")),
    ("DeepSeek V3.1", "{{'<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>'+ tool['function']['name']}}",
     "deepseek", None),
    ("DeepSeek V3.2", "{%- set dsml_token = '｜DSML｜' -%}", "deepseek_dsml", None),
    ("Mistral Nemo", '{{- "[TOOL_CALLS][" }}', "mistral", None),
    ("Ministral 3", "{{- '[TOOL_CALLS]' }} {{- '[THINK]' + block['thinking'] + '[/THINK]' }}", "mistral",
     ("[THINK]", "[/THINK]")),
    ("Llama 3.1", "{{- \"<|python_tag|>\" + tool_call.name + \".call(\" }}", "llama3", None),
    ("Llama 3.2", "'Respond in the format {\"name\": function name, \"parameters\": dictionary of"
     " argument name and its value}.'", "llama3", None),
    ("gpt-oss", '"<|start|>assistant<|channel|>analysis<|message|>" "<|channel|>final<|message|>"', "harmony",
     ("<|channel|>analysis<|message|>", "<|end|>")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("template", "name", "markers"), [line[1:] for line in LINES], ids=[line[0] for line in LINES]
)
def test_a_template_tells_its_family_and_how_it_reasons(template, name, markers):
    assert family(template).name == name
    assert reasoning.markers(template) == markers


def test_no_template_has_no_family():
    assert family(None).name == "none"
    assert reasoning.markers(None) is None
    assert reasoning.begun(None, "<think>") is False


def test_each_family_is_told_by_a_line_above():
    assert {one.name for one in FAMILIES} == {name for _, _, name, _ in LINES} - {"none"}


@pytest.mark.parametrize(
    ("prompt", "begun"),
    [
        ("<|im_start|>assistant\n<think>\n", True),
        ("<|im_start|>assistant\n<think>\nFirst", True),
        ("<|im_start|>assistant\n<think>\n\n</think>\n\n", False),
        ("<|im_start|>user\n<think>?<|im_end|>\n<|im_start|>assistant\n", False),
        ("<|im_start|>assistant\n", False),
    ],
)
def test_a_prompt_tells_whether_reasoning_has_begun(prompt, begun):
    assert reasoning.begun("{{ '<think>\n' }} '</think>'", prompt) is begun


@pytest.mark.parametrize("line", LINES, ids=[line[0] for line in LINES])
@pytest.mark.parametrize("number", [1, 2])
def test_what_a_grammar_writes_is_read(line, number):
    form = written(line[1])
    if form.separator is None:
        number = 1
    calls = [f'{form.before}weather{form.between}{{"city": "Oslo"}}{form.after}'] * number
    text = form.opens + (form.separator or "").join(calls) + form.closes
    header = " to=user<|message|>" if line[2] == "muse_spark" else ""
    case = Case(line[0], line[1], header + text, [], forced=True)
    found = [
        (piece.name, piece.arguments) for piece in gathered(said(case, case.text)) if isinstance(piece, Made)
    ]
    assert found == [("weather", '{"city": "Oslo"}')] * number
    assert not any(isinstance(piece, Content) for piece in said(case, case.text))


def test_a_family_without_json_is_forced_in_plain_json():
    assert written(CHATML) == PLAIN
