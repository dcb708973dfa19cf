"""The older API, which continues texts and tokens as they are."""

from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from tests.inference import chat
from tests.processes import Role

PROMPT = "the model"


def post(lmx: Role, **fields: Any) -> httpx.Response:
    body = {"prompt": PROMPT, "temperature": 0, "max_tokens": 6, **fields}
    return httpx.post(f"{lmx.url}/v1/completions", json=body, timeout=60)


def texts(lmx: Role, **fields: Any) -> list[str]:
    response = post(lmx, **fields)
    assert response.status_code == 200, response.text
    choices = response.json()["choices"]
    assert [choice["index"] for choice in choices] == list(range(len(choices)))
    return [choice["text"] for choice in choices]


@pytest.fixture
def lenient(lmx: Role) -> Iterator[openai.OpenAI]:
    """For streams: OpenAI gives a finish_reason with the last piece only, its client's type with each."""
    with openai.OpenAI(base_url=f"{lmx.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_it_streams_the_same_text_it_answers_whole(client: openai.OpenAI, lenient: openai.OpenAI):
    wanted: dict[str, Any] = {"model": "auto", "prompt": [PROMPT, "a local"], "temperature": 0, "n": 2}
    whole = client.completions.create(**wanted)
    said = dict.fromkeys(range(4), "")
    reasons = dict.fromkeys(range(4))
    usage = None
    for chunk in lenient.completions.create(stream=True, stream_options={"include_usage": True}, **wanted):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            said[choice.index] += choice.text
            reasons[choice.index] = choice.finish_reason or reasons[choice.index]
    assert [said[index] for index in range(4)] == [choice.text for choice in whole.choices]
    assert set(reasons.values()) == {"length"}
    assert usage
    assert (usage.completion_tokens, usage.prompt_tokens) == (
        whole.usage.completion_tokens,
        whole.usage.prompt_tokens,
    )


def test_sixteen_tokens_come_when_no_limit_is_named(lmx: Role):
    assert post(lmx, max_tokens=None).json()["usage"]["completion_tokens"] == 16


def test_several_prompts_are_answered_in_their_order(lmx: Role):
    (first,), (second,) = texts(lmx), texts(lmx, prompt="a local machine")
    assert texts(lmx, prompt=[PROMPT, "a local machine"], n=2) == [first, first, second, second]


def test_tokens_are_a_prompt_too(lmx: Role):
    # Ids of the tiny model's bytes, which are texts of their own.
    (echoed,) = texts(lmx, prompt=[70, 71, 72], echo=True)
    (alone,) = texts(lmx, prompt=[70, 71, 72])
    assert echoed.endswith(alone)
    said = echoed.removesuffix(alone)
    assert len(said) == 3
    both = texts(lmx, prompt=[[70, 71, 72], [72, 71, 70]], echo=True)
    assert both[0] == echoed
    assert both[1].startswith(said[::-1])


def test_an_echo_begins_with_the_prompt(lmx: Role):
    (plain,) = texts(lmx)
    assert texts(lmx, echo=True) == [PROMPT + plain]


def test_log_probabilities_say_where_their_tokens_are(lmx: Role):
    choice = post(lmx, logprobs=2).json()["choices"][0]
    found = choice["logprobs"]
    said = choice["text"]
    assert said == "".join(found["tokens"])
    ends = [*found["text_offset"][1:], len(said)]
    assert [said[a:b] for a, b in zip(found["text_offset"], ends, strict=True)] == found["tokens"]
    for token, value, top in zip(
        found["tokens"], found["token_logprobs"], found["top_logprobs"], strict=True
    ):
        assert top[token] == value == max(top.values())


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no prompt": ({"prompt": None}, "prompt"),
    "no prompts": ({"prompt": []}, "prompt"),
    "texts and tokens": ({"prompt": ["the", 5]}, "prompt"),
    "a token that is none": ({"prompt": [-1]}, "prompt"),
    "a token beyond the vocabulary": ({"prompt": [4_000_000]}, "prompt"),
    "an empty list of tokens": ({"prompt": [[]]}, "prompt"),
    "an empty prompt": ({"prompt": ""}, "prompt"),
    "an empty prompt among others": ({"prompt": [PROMPT, ""]}, "prompt"),
    "truth as a token": ({"prompt": [True]}, "prompt"),
    "the middle": ({"suffix": "end"}, "suffix"),
    "the best of more": ({"n": 1, "best_of": 3}, "best_of"),
    "an echo with scores": ({"echo": True, "logprobs": 1}, "echo"),
    "too many at once": ({"prompt": [PROMPT] * 65, "n": 2}, "prompt"),
    "a chat's field": ({"messages": []}, "messages"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_by_the_name_of_the_field(lmx: Role, case: str):
    fields, field = REFUSED[case]
    response = post(lmx, **fields)
    assert (response.status_code, response.json()["error"]["param"]) == (400, field)
    assert chat.idle(lmx.url)
