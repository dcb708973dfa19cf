"""The tokenizer and the template of a GGUF, beside Hugging Face's of the same model."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jinja2.sandbox import ImmutableSandboxedEnvironment
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from inference.errors import RunnerRefused
from inference.request import Call, Chat, Message, Tool
from inference.runner.engines.gguf import library
from inference.runner.engines.gguf.tokenizer import GgufTokenizer
from inference.runner.overtime import Overtime, within
from inference.runner.template import messages, variables
from tests.inference.gguf import write_tiny

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
ANY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="session")
def reference(models: Path) -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(models / "opta-tiny")


@ANY
@given(text=TEXTS)
def test_any_text_has_hugging_faces_tokens_and_comes_back(
    tokenizer: GgufTokenizer, reference: PreTrainedTokenizerFast, text: str
):
    tokens = tokenizer.encode(text)
    assert tokens == reference.encode(text, add_special_tokens=False)
    assert tokenizer.decode(tokens) == text


@ANY
@given(text=TEXTS)
def test_text_that_comes_token_by_token_is_the_text(tokenizer: GgufTokenizer, text: str):
    detokenizer, said = tokenizer.detokenizer(), ""
    for token in tokenizer.encode(text):
        detokenizer.add_token(token)
        assert "\ufffd" not in detokenizer.last_segment or "\ufffd" in text
        said += detokenizer.last_segment
    detokenizer.finalize()
    assert said + detokenizer.last_segment == text


def test_a_character_that_never_ends_is_shown_as_broken(tokenizer: GgufTokenizer):
    (first, *_) = tokenizer.encode("\U0001f600")
    detokenizer = tokenizer.detokenizer()
    detokenizer.add_token(first)
    assert detokenizer.last_segment == ""
    detokenizer.finalize()
    assert detokenizer.last_segment == "\ufffd"


def test_markers_are_one_token_and_stay_visible(tokenizer: GgufTokenizer):
    (marker,) = tokenizer.encode("<|im_end|>")
    assert marker in tokenizer.ends
    assert (tokenizer.decode([marker]), tokenizer.piece(marker)) == ("<|im_end|>", b"<|im_end|>")


def test_a_token_that_there_is_not_is_refused(tokenizer: GgufTokenizer):
    for token in (-1, tokenizer.size):
        with pytest.raises(RunnerRefused, match="no token"):
            tokenizer.decode([token])


def test_the_guide_is_as_wide_as_the_scores(tokenizer: GgufTokenizer):
    assert tokenizer.guide().vocab_size == tokenizer.size
    assert tokenizer.guide().tokenize_str("local model") == tokenizer.encode("local model")


def test_a_chat_is_rendered_as_hugging_face_renders_it(
    tokenizer: GgufTokenizer, reference: PreTrainedTokenizerFast
):
    call = Call("1", "f", json.dumps({"a": 1}))
    chat = Chat(
        [
            Message("user", "hi"),
            Message("assistant", tool_calls=[call]),
            Message("tool", "1", tool_call_id="1"),
        ],
        tools=[Tool("f", "does", {"type": "object"})],
    )
    expected = reference.apply_chat_template(
        messages(chat), tokenize=False, add_generation_prompt=True, **variables(chat)
    )
    assert tokenizer.render(chat) == expected
    assert tokenizer.render(chat, answer=False) == expected.removesuffix("<|im_start|>assistant\n")


def test_a_beginning_is_continued(tokenizer: GgufTokenizer):
    chat = Chat([Message("user", "hi"), Message("assistant", "Well,")], resume=True)
    assert tokenizer.render(chat).endswith("<|im_start|>assistant\nWell,")


ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{{ messages[0].content.__class__.__mro__ }}", "unsafe"),
        ("{{ 1 / 0 }}", "division"),
        ("{% if %}", "Expected an expression"),
    ],
)
def test_a_template_that_fails_is_refused_with_what_it_said(
    models: Path, tmp_path: Path, template: str, complaint: str
):
    file = write_tiny(tmp_path / "odd.gguf", models / "opta-tiny", template=template)
    tokenizer = GgufTokenizer(library.Model(str(file)))
    with pytest.raises(RunnerRefused, match=complaint) as refusal:
        tokenizer.render(Chat([Message("user", "hi")]))
    assert refusal.value.code == "template_error"


def test_a_template_that_loops_for_hours_is_stopped():
    template = ImmutableSandboxedEnvironment().from_string(ENDLESS)
    with pytest.raises(Overtime), within(0.1):
        template.render()
    with within(0.1):
        pass


def test_a_model_without_a_template_has_none(models: Path, tmp_path: Path):
    file = write_tiny(tmp_path / "bare.gguf", models / "opta-tiny", template=None)
    assert GgufTokenizer(library.Model(str(file))).template is None
