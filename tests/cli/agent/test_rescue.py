"""Calls that a server returned as text: each family's form is found, prose never is, however it is cut."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.agent.rescue import Sieve

OFFERED: dict[str, Any] = {
    "read_file": {"properties": {"path": {"type": "string"}, "lines": {"type": "integer"}}},
    "list_dir": {"properties": {}},
    "grep": {"properties": {"pattern": {"type": "string"}}},
}
READ = ("read_file", {"path": "a.txt"})
TWO = [READ, ("grep", {"pattern": "x y"})]
JSON = '{"name": "read_file", "arguments": {"path": "a.txt"}}'
LLAMA = '{"name": "read_file", "parameters": {"path": "a.txt"}}'
GREP = '{"name": "grep", "arguments": {"pattern": "x y"}}'
CODER = "<function=read_file>\n<parameter=path>\na.txt\n</parameter>\n</function>"

MARKED = {
    "hermes": (f"<tool_call>\n{JSON}\n</tool_call>", [READ]),
    "hermes twice": (f"<tool_call>{JSON}</tool_call>\n<tool_call>{GREP}</tool_call>", TWO),
    "hermes without its end": (f"<tool_call>\n{JSON}", [READ]),
    "hermes, nearly json": (
        "<tool_call>{'name': 'read_file', 'arguments': {'path': 'a.txt',}}</tool_call>",
        [READ],
    ),
    "hermes, brace missing": (f"<tool_call>{JSON[:-1]}</tool_call>", [READ]),
    "hermes, as a function": (f'<tool_call>{{"type": "function", "function": {JSON}}}</tool_call>', [READ]),
    "hermes, no arguments": ('<tool_call>{"name": "list_dir"}</tool_call>', [("list_dir", {})]),
    "qwen coder": (f"<tool_call>\n{CODER}\n</tool_call>", [READ]),
    "qwen coder without a section": (CODER, [READ]),
    "qwen coder, beginning lost": (f"{CODER}\n</tool_call>", [READ]),
    "glm": (
        "<tool_call>read_file\n<arg_key>path</arg_key>\n<arg_value>a.txt</arg_value>\n</tool_call>",
        [READ],
    ),
    "llama": (f"<|python_tag|>{LLAMA}<|eom_id|>", [READ]),
    "llama twice": (f"<|python_tag|>{LLAMA}; {GREP}", TWO),
    "llama, python": ('<|python_tag|>read_file(path="a.txt")', [READ]),
    "llama, custom": ('<function=read_file>{"path": "a.txt"}</function>', [READ]),
    "mistral": (f"[TOOL_CALLS][{JSON}, {GREP}]", TWO),
    "mistral, newer": ('[TOOL_CALLS]read_file[ARGS]{"path": "a.txt"}[TOOL_CALLS]grep{"pattern": "x y"}', TWO),
    "deepseek": (
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>read_file\n"
        '```json\n{"path": "a.txt"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
        [READ],
    ),
    "deepseek, newer": (
        '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>read_file<｜tool▁sep｜>{"path": "a.txt"}'
        "<｜tool▁call▁end｜>"
        '<｜tool▁call▁begin｜>grep<｜tool▁sep｜>{"pattern": "x y"}<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
        TWO,
    ),
    "minimax": (
        '<minimax:tool_call>\n<invoke name="read_file">\n<parameter name="path">a.txt</parameter>\n'
        "</invoke>\n</minimax:tool_call>",
        [READ],
    ),
    "gpt-oss": (
        '<|channel|>commentary to=functions.read_file <|constrain|>json<|message|>{"path": "a.txt"}<|call|>',
        [READ],
    ),
}
WHOLE = {
    "bare": (JSON, [READ]),
    "bare, llama's": (LLAMA, [READ]),
    "bare list": (f"[{JSON}, {GREP}]", TWO),
    "bare, one behind the other": (f"{JSON}\n{GREP}", TWO),
    "fenced": (f"```json\n{JSON}\n```", [READ]),
    "fenced, no language": (f"```\n{JSON}\n```\n", [READ]),
    "python": ('read_file(path="a.txt")', [READ]),
    "python, by position": ('read_file("a.txt")', [READ]),
    "python list": ("[read_file(path='a.txt'), grep(pattern='x y')]", TWO),
    "python, namespace": ('functions.read_file(path="a.txt")', [READ]),
    "python, fenced": ('```tool_code\nread_file(path="a.txt")\n```', [READ]),
    "after a thought": (f"<think>\nI will read it.\n</think>\n\n{JSON}", [READ]),
    "after a thought whose beginning is the template's": (f"I will read it.\n</think>\n\n{JSON}", [READ]),
}


def sifted(pieces: list[str] | str, *, cut: bool = False) -> tuple[str, list[tuple[str, Any]], str]:
    """All the text that is shown, the calls, and what of the text was shown before the end."""
    sieve = Sieve(OFFERED)
    early = "".join(sieve.feed(piece) for piece in pieces)
    text, calls = sieve.rest(cut=cut)
    return (
        early + text,
        [(name.removeprefix("functions."), json.loads(given)) for name, given in calls],
        early,
    )


def parts(text: str, cuts: list[int]) -> list[str]:
    places = sorted({cut % (len(text) + 1) for cut in cuts})
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


@pytest.mark.parametrize(("text", "calls"), [*MARKED.values(), *WHOLE.values()], ids=[*MARKED, *WHOLE])
def test_a_call_in_a_known_form_is_found_and_not_shown(text: str, calls: list[Any]):
    said, found, early = sifted(list(text))
    assert found == calls
    assert said == early
    assert "read_file" not in said
    assert "<tool" not in said


@pytest.mark.parametrize(("text", "calls"), MARKED.values(), ids=MARKED)
def test_words_before_a_marked_call_are_shown_as_they_come(text: str, calls: list[Any]):
    said, found, early = sifted(list(f"Let me see.\n\n{text}"))
    assert (said, found, early) == ("Let me see.", calls, "Let me see.")


@pytest.mark.parametrize(("text", "calls"), [*MARKED.values(), *WHOLE.values()], ids=[*MARKED, *WHOLE])
def test_a_call_with_words_behind_it_is_text(text: str, calls: list[Any]):
    said, found, _ = sifted(list(f"{text}\n\nThat is how one calls it."))
    assert (said, found) == (f"{text}\n\nThat is how one calls it.", [])


@pytest.mark.parametrize(("text", "calls"), WHOLE.values(), ids=WHOLE)
def test_what_people_write_in_prose_must_be_the_whole_answer(text: str, calls: list[Any]):
    said, found, _ = sifted(list(f"You could write: {text}"))
    if "</think>" not in text:
        assert (said, found) == (f"You could write: {text}", [])


@pytest.mark.parametrize(
    "text",
    [
        f"In this format:\n```xml\n<tool_call>\n{JSON}\n</tool_call>\n```",
        f"In this format:\n```\n<tool_call>\n{JSON}\n</tool_call>",
        f"One writes `<tool_call>{JSON}</tool_call>`",
        f"One writes <tool_call>{JSON}</tool_call>",
        f"<think>Perhaps\n<tool_call>{JSON}</tool_call>\n</think>",
        f"<think>Perhaps\n<tool_call>{JSON}</tool_call>",
        "A <tool_call> tag opens a call, and </tool_call> closes it.",
        "<tool_call> opens a call",
        '<tool_call>{"name": "delete_all", "arguments": {}}</tool_call>',
        f'<tool_call>{JSON}</tool_call><tool_call>{{"name": "delete_all", "arguments": {{}}}}</tool_call>',
        '{"name": "Alice", "arguments": ["for", "against"]}',
        '{"name": "read_file"}',
        '{"name": "read_file", "arguments": {}, "explanation": "reads a file"}',
        '```json\n{"name": "Alice", "age": 7}\n```',
        "read_file",
        "read_file(path) reads a file.",
        "read_file(path=open('x').read())",
        "read_file(*paths)",
        "print(read_file('a.txt'))",
        "read_file('a', 1, 2)",
        "[1] A footnote",
        "[TOOL_CALLS] is Mistral's mark.",
        "",
        "   \n",
    ],
)
def test_what_is_no_call_stays_text(text: str):
    said, found, _ = sifted(list(text))
    assert (said, found) == (text, [])


def test_half_a_call_is_text():
    text = f"<tool_call>\n{JSON}"
    assert sifted(list(text), cut=True)[:2] == (text, [])


def test_prose_is_shown_at_once():
    text = "The answer [1] is 3 < 4, in `code` and {braces}; see read_file for more.\nAnd so on."
    shown = ""
    sieve = Sieve(OFFERED)
    for at, char in enumerate(text):
        shown += sieve.feed(char)
        # A space waits for the next word, and with it what a mark may begin with.
        assert len(shown) >= at - 1
    assert shown == text


def test_json_that_is_the_answer_is_shown_after_a_glance():
    text = json.dumps({"people": [{"first": "Alice", "age": n} for n in range(100)]})
    assert len(sifted(list(text))[2]) == len(text)


def test_a_long_call_costs_no_more_than_its_length():
    body = json.dumps({"name": "grep", "arguments": {"pattern": "x" * 400_000}})
    text = f"<tool_call>{body}</tool_call>"
    pieces = [text[at : at + 4] for at in range(0, len(text), 4)]
    said, found, _ = sifted(pieces)
    assert (said, len(found)) == ("", 1)


@pytest.mark.parametrize("mark", ["<tool_call>", "<tool_call>{", "\n<tool_call>\n", "\n<function=grep>\n"])
def test_an_answer_of_nothing_but_marks_is_text(mark: str):
    text = mark * 3_000 + MARKED["hermes"][0] + "!"
    said, found, _ = sifted([text[at : at + 5] for at in range(0, len(text), 5)])
    assert (said, found) == (text, [])


TEXTS = [*(text for text, _ in MARKED.values()), *(text for text, _ in WHOLE.values())]
FRAGMENTS = [
    *TEXTS, *(text[: len(text) // 2] for text in TEXTS), *(text[len(text) // 2 :] for text in TEXTS),
    "<tool_call>", "</tool_call>", "<think>", "</think>", "```", "```json\n", "\n", " ", "`", "{", "[", "]",
    "read_file", "read_file(", "I will call read_file.", "No.", "<function=", "[TOOL_CALLS]", "}",
]  # fmt: skip
MIXED = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=10), max_size=6).map("".join)


@given(text=MIXED, cuts=st.lists(st.integers(0, 10_000), max_size=12))
def test_however_it_is_cut_the_same_is_shown_and_called(text: str, cuts: list[int]):
    whole = sifted([text])
    pieces = sifted(parts(text, cuts))
    assert pieces[:2] == whole[:2]
    assert whole[1] or whole[0] == text


WORDS = "the model calls read_file with a path and list_dir grep tool <tool_call> JSON { } [ ] ( ) , : `x`"
PROSE = st.lists(st.sampled_from(WORDS.split()), min_size=1, max_size=20).map(" ".join)


@given(before=PROSE, form=st.sampled_from(TEXTS), after=PROSE)
def test_prose_that_talks_about_a_call_never_runs_it(before: str, form: str, after: str):
    for text in (
        before,
        f"{before} {form} {after}.",
        f"{before}:\n```\n{form}\n```\n{after}.",
        f"{form}\n{after}.",
    ):
        assert sifted([text])[:2] == (text, [])
