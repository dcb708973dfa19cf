"""Tokens over HTTP: what the model reads, and back."""

from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.inference import chat
from tests.processes import Role

WEATHER = {"type": "function", "function": {"name": "weather", "description": "of a place"}}


def post(lmx: Role, path: str, **fields: Any) -> httpx.Response:
    return httpx.post(f"{lmx.url}/v1/{path}", json=fields, timeout=60)


def ask(lmx: Role, path: str, **fields: Any) -> dict[str, Any]:
    response = post(lmx, path, **fields)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def test_a_text_becomes_tokens(lmx: Role):
    found = ask(lmx, "tokenize", prompt="the local model")
    assert found["count"] == len(found["tokens"]) > 0
    assert (found["model"], found["max_model_len"]) == ("opta-tiny", 8192)
    assert ask(lmx, "tokenize", prompt="")["tokens"] == []


def test_every_text_comes_back_from_its_tokens(lmx: Role):
    with httpx.Client(base_url=lmx.url, timeout=60) as client:

        @settings(max_examples=30, deadline=None)
        @given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
        def there_and_back(text: str) -> None:
            tokens = client.post("/v1/tokenize", json={"prompt": text}).json()["tokens"]
            assert client.post("/v1/detokenize", json={"tokens": tokens}).json()["text"] == text

        there_and_back()


def test_a_chat_is_tokenized_as_it_is_answered(lmx: Role):
    found = ask(lmx, "tokenize", messages=chat.HELLO)
    assert found["count"] == chat.answer(lmx.url, max_tokens=1)["usage"]["prompt_tokens"]
    rendered = ask(lmx, "apply-template", messages=chat.HELLO)
    assert rendered["prompt"] == "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"
    assert rendered["count"] == found["count"]
    assert ask(lmx, "detokenize", tokens=found["tokens"])["text"] == rendered["prompt"]


def test_a_template_takes_what_a_chat_takes(lmx: Role):
    wanted = {"messages": chat.HELLO, "tools": [WEATHER], "chat_template_kwargs": {"mood": "good"}}
    assert ask(lmx, "apply-template", **wanted)["prompt"].startswith("<|im_start|>")
    assert ask(lmx, "tokenize", **wanted)["count"] == ask(lmx, "apply-template", **wanted)["count"]


@pytest.mark.parametrize(
    ("path", "fields", "field"),
    [
        ("tokenize", {}, "messages"),
        ("tokenize", {"prompt": "hi", "messages": chat.HELLO}, "messages"),
        ("tokenize", {"prompt": 7}, "prompt"),
        ("tokenize", {"prompt": "hi", "mood": "good"}, "mood"),
        ("tokenize", {"messages": chat.HELLO, "tools": [WEATHER, WEATHER]}, "tools"),
        ("detokenize", {"tokens": [999_999]}, "tokens"),
        ("detokenize", {"tokens": [-1]}, "tokens.0"),
        ("detokenize", {"tokens": [1, "2"]}, "tokens.1"),
        ("detokenize", {}, "tokens"),
        ("apply-template", {"messages": []}, "messages"),
        ("apply-template", {"messages": chat.HELLO, "temperature": 1}, "temperature"),
        ("apply-template", {"messages": chat.HELLO, "chat_template_kwargs": {"tokenize": True}},
         "chat_template_kwargs"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_by_its_name(lmx: Role, path: str, fields: dict[str, Any], field: str):
    response = post(lmx, path, **fields)
    assert (response.status_code, response.json()["error"]["param"]) == (400, field)


def test_a_model_that_is_not_there_is_a_404(lmx: Role):
    for path, fields in (("tokenize", {"prompt": "hi"}), ("detokenize", {"tokens": []})):
        response = post(lmx, path, model="no/such", **fields)
        assert (response.status_code, response.json()["error"]["param"]) == (404, "model")
