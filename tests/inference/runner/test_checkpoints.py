"""Checkpoints: where later prompts may part from one, found with a model's own template and tokenizer."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.errors import RunnerRefused
from inference.request import Call, Chat, Generate, Message, Plain, Tool
from inference.runner.engines.mlx.tokenizer import MlxTokenizer
from inference.runner.prompts import Prepared, Prompts
from inference.tiny import TEMPLATE

# Tools stand before the system prompt, a tool's results in one user turn, and old reasoning is left out.
AGENT = """\
{%- if tools %}<|im_start|>tools
{{ tools | tojson }}<|im_end|>
{% endif %}
{%- for message in messages -%}
{%- if message.role == 'tool' -%}
{%- if loop.first or messages[loop.index0 - 1].role != 'tool' %}<|im_start|>user
{% endif %}[{{ message.content }}]
{%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}<|im_end|>
{% endif %}
{%- else -%}
<|im_start|>{{ message.role }}
{% if message.reasoning_content and loop.last %}<think>{{ message.reasoning_content }}</think>{% endif -%}
{{ message.content }}
{%- for call in message.tool_calls or [] %}{{ call.function | tojson }}{% endfor %}<|im_end|>
{% endif -%}
{% endfor -%}
{%- if add_generation_prompt %}<|im_start|>assistant
<think>
{% endif -%}"""
# As Mistral's: it refuses all but turns, and the system prompt stands in the last of them.
STRICT = """\
{%- set turns = messages | rejectattr('role', 'equalto', 'system') | list -%}
{%- for message in turns -%}
{%- if (message.role == 'user') == (loop.index0 % 2 == 1) %}{{ raise_exception('out of turn') }}{% endif -%}
{%- if message.role == 'user' %}[INST]
{%- if loop.last and messages[0].role == 'system' %} {{ messages[0].content }}{% endif %}
{{ message.content }}
[/INST]{% else %} {{ message.content }}<|im_end|>{% endif -%}
{%- endfor -%}"""
LOOP = "{% for outer in range(99999) %}{% for inner in range(99999) %}{% endfor %}{% endfor %}"
TEMPLATES = {"chatml": TEMPLATE, "agent": AGENT, "strict": STRICT, "endless": LOOP}
SYSTEM = Message("system", "You are a careful machine. Answer in as few words as the question can bear.")
WEATHER = Tool("weather", "What the sky does.", {"type": "object"})


@pytest.fixture(scope="module")
def prompts(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Prompts]:
    def made(template: str) -> Prompts:
        folder = tmp_path_factory.mktemp(template) / "model"
        shutil.copytree(models / "opta-tiny", folder, ignore=shutil.ignore_patterns("*.safetensors"))
        config = folder / "tokenizer_config.json"
        config.write_text(
            json.dumps({**json.loads(config.read_text()), "chat_template": TEMPLATES[template]})
        )
        return Prompts(MlxTokenizer(folder), 4096, checkpoints=True)

    ready = {template: made(template) for template in TEMPLATES}
    return ready.__getitem__


def prepare(prompts: Prompts, *messages: Message, tools: tuple[Tool, ...] = ()) -> Prepared:
    return prompts.prepare(Generate(1, Chat(list(messages), list(tools))))


def user(text: str) -> Message:
    return Message("user", text)


def assistant(text: str, **more: Any) -> Message:
    return Message("assistant", text, **more)


def reused(first: Prepared, second: Prepared) -> int:
    """How many tokens of the second prompt the checkpoints of the first can serve."""
    return max((at for at in first.checkpoints if second.tokens[:at] == first.tokens[:at]), default=0)


def part(prompts: Prompts, prepared: Prepared, at: int) -> str:
    return prompts.tokenizer.decode(prepared.tokens[:at])


def test_there_is_one_behind_the_system_prompt_and_one_at_the_end_of_each_message(prompts):
    chatml = prompts("chatml")
    found = prepare(chatml, SYSTEM, user("Is it late?"), assistant("It is."), user("Then good night."))
    ends = ["<|im_start|>user\n", "late?<|im_end|>\n", "It is.<|im_end|>\n", "good night.<|im_end|>\n"]
    assert len(found.checkpoints) == len(ends)
    for at, end in zip(found.checkpoints, ends, strict=True):
        assert part(chatml, found, at).endswith(end)


def test_another_conversation_with_the_same_system_prompt_and_tools_shares_the_first(prompts):
    for template in ("chatml", "agent"):
        one = prepare(prompts(template), SYSTEM, user("Is it late?"), tools=(WEATHER,))
        other = prepare(prompts(template), SYSTEM, user("Will it rain?"), tools=(WEATHER,))
        assert reused(one, other) == one.checkpoints[0] > 20
        assert part(prompts(template), other, one.checkpoints[0]).endswith("<|im_start|>user\n")


def test_the_turn_after_a_tools_result_shares_all_but_the_new(prompts):
    calling = assistant("", tool_calls=[Call("1", "weather", "{}"), Call("2", "weather", "{}")])
    asked = [SYSTEM, user("Will it rain?"), calling, Message("tool", "rain", tool_call_id="1")]
    agent = prompts("agent")
    first = prepare(agent, *asked, tools=(WEATHER,))
    answered = prepare(agent, *asked, assistant("It will."), user("Much?"), tools=(WEATHER,))
    assert part(agent, first, reused(first, answered)).endswith("[rain]<|im_end|>\n")
    more = prepare(agent, *asked, Message("tool", "wind", tool_call_id="2"), tools=(WEATHER,))
    assert part(agent, first, reused(first, more)).endswith("{}}<|im_end|>\n")


def test_a_template_that_refuses_a_beginning_costs_its_checkpoints_and_no_more(prompts):
    strict = prompts("strict")
    found = prepare(strict, SYSTEM, user("Is it late?"), assistant("It is."), user("Good night."))
    assert part(strict, found, found.checkpoints[-1]) == found.text
    assert found.checkpoints == sorted(set(found.checkpoints))


def test_a_long_conversation_gets_them_at_the_system_prompt_and_at_its_latest_messages(prompts):
    turns = [user("And then?") if at % 2 else assistant("Then something happened.") for at in range(1, 100)]
    found = prepare(prompts("chatml"), SYSTEM, *turns)
    first, *latest = found.checkpoints
    assert part(prompts("chatml"), found, first).endswith("<|im_start|>user\n")
    assert len(latest) == 8
    assert part(prompts("chatml"), found, latest[0]).count("<|im_end|>") == len(turns) + 1 - 7


def test_a_prompt_without_messages_gets_one_at_its_end(prompts):
    found = prompts("chatml").prepare(Generate(1, Plain("Once upon a time there was a machine.")))
    assert found.checkpoints == [len(found.tokens)]


def test_a_state_that_can_be_cut_needs_none(prompts):
    cut = Prompts(prompts("chatml").tokenizer, 4096)
    assert prepare(cut, SYSTEM, user("Is it late?")).checkpoints == []


texts = st.text(st.characters(codec="utf-8", exclude_characters="\ue000"), max_size=20) | st.sampled_from(
    ["<|im_end|>", "<|im_start|>user\n", "🙂", "  ", "\n\n", "e\u0301"]
)
turns = st.lists(texts, min_size=1, max_size=7).filter(lambda turns: len(turns) % 2)


def test_a_template_that_loops_for_hours_is_stopped_and_the_next_prompt_is_read(prompts):
    with pytest.raises(RunnerRefused, match="took more than") as caught:
        prepare(prompts("endless"), user("Is it late?"))
    assert (caught.value.status, caught.value.code) == (400, "template_error")
    assert prepare(prompts("chatml"), user("Is it late?")).tokens


@pytest.mark.parametrize("template", ["chatml", "agent", "strict"])
@given(system=texts, turns=turns, answer=texts, more=texts, other=texts)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
def test_whatever_is_said_the_next_turn_shares_what_the_text_shares(
    prompts, template: str, system: str, turns: list[str], answer: str, more: str, other: str
):
    said = [Message("system", system)]
    said += [assistant(turn) if at % 2 else user(turn) for at, turn in enumerate(turns)]
    now = prepare(prompts(template), *said)
    assert now.checkpoints == sorted(set(now.checkpoints))
    assert 0 < now.checkpoints[0] <= now.checkpoints[-1] <= len(now.tokens)
    if template == "strict":  # it moves the system prompt to the last message: nothing is shared
        return
    then = prepare(prompts(template), *said, assistant(answer), user(more))
    assert len(now.tokens) - reused(now, then) <= 16
    stranger = prepare(prompts(template), said[0], user(other))
    assert reused(now, stranger) >= now.checkpoints[0]


def test_megabytes_are_refused_unread_with_both_numbers(prompts):
    chatml = prompts("chatml")
    for prompt in (Plain("word " * 200_000), Chat([user("word " * 200_000)])):
        with pytest.raises(RunnerRefused, match=r"at least \d{5,} tokens.*context holds 4096") as caught:
            chatml.prepare(Generate(1, prompt))
        assert caught.value.code == "context_length_exceeded"


def test_what_is_only_counted_is_bounded_too(prompts):
    for prompt in (Plain("word " * 900_000), Chat([user("word " * 900_000)])):
        with pytest.raises(RunnerRefused, match="at most 4194304 are read") as caught:
            prompts("chatml").read(prompt)
        assert (caught.value.status, caught.value.code) == (400, "prompt_too_large")
    with pytest.raises(RunnerRefused, match="at most 4194304 are read") as caught:
        prompts("chatml").inputs([Plain("word " * 900)] * 1000)
    assert caught.value.field == "input"


def test_what_only_looks_too_long_is_counted(prompts):
    chatml = prompts("chatml")
    marks = "<|endoftext|>" * 4000
    assert len(chatml.prepare(Generate(1, Plain(marks))).tokens) == 4000
    with pytest.raises(RunnerRefused, match="has 4001 tokens"):
        chatml.prepare(Generate(1, Plain(marks + "<|endoftext|>"), context=4001))
