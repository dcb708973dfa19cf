"""Ollama's dialect, mostly through Ollama's own client, with the real tiny model behind it."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import ollama
import pytest

from inference.api.answers import gather
from inference.api.dialect import encode
from inference.api.ollama import Reply, chat_line
from inference.request import Ended, Event, Finish, Reasoning, Text, ToolCall
from inference.schemas.ollama import OllamaChat, OllamaGenerate
from tests.inference import chat
from tests.processes import Role, wait_until

OPTIONS: dict[str, Any] = {"temperature": 0, "num_predict": 12}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "of a place"}}


@pytest.fixture
def client(lmx: Role) -> Iterator[ollama.Client]:
    with ollama.Client(host=lmx.url) as client:
        yield client


def post(lmx: Role, path: str, **fields: Any) -> httpx.Response:
    return httpx.post(f"{lmx.url}/api/{path}", json={"model": "opta-tiny", **fields}, timeout=60)


def test_it_answers_what_openais_chat_answers(client: ollama.Client, lmx: Role):
    found = client.chat("opta-tiny:latest", chat.HELLO, options=OPTIONS)
    assert (found.message.role, found.message.content) == ("assistant", chat.text(lmx.url))
    assert (found.done, found.done_reason, found.model) == (True, "length", "opta-tiny:latest")


def test_it_streams_line_by_line_unless_it_is_told_not_to(client: ollama.Client, lmx: Role):
    whole = client.chat("opta-tiny", chat.HELLO, options=OPTIONS)
    *lines, last = client.chat("opta-tiny", chat.HELLO, options=OPTIONS, stream=True)
    assert "".join(line.message.content or "" for line in lines) == whole.message.content
    assert [line.done for line in lines] == [False] * 12
    assert (last.done, last.message.content, last.eval_count) == (True, "", 12)
    response = post(lmx, "chat", messages=chat.HELLO, options=OPTIONS)
    assert response.headers["content-type"] == "application/x-ndjson"
    assert len(response.text.splitlines()) == 13


def test_its_figures_are_those_of_the_answer(client: ollama.Client, lmx: Role):
    before = time.perf_counter_ns()
    found = client.chat("opta-tiny", chat.HELLO, options={**OPTIONS, "num_predict": 60})
    passed = time.perf_counter_ns() - before
    assert found.prompt_eval_count == chat.answer(lmx.url)["usage"]["prompt_tokens"]
    assert found.eval_count == 60
    parts = found.load_duration + found.prompt_eval_duration + found.eval_duration
    assert 0 < parts <= found.total_duration < passed
    assert found.eval_duration > found.prompt_eval_duration > 0


def test_it_generates_with_the_models_template_or_raw(client: ollama.Client, lmx: Role):
    found = client.generate("opta-tiny", "hello", options=OPTIONS)
    assert found.response == chat.text(lmx.url)
    assert found.done_reason == "length"
    rendered = httpx.post(f"{lmx.url}/v1/apply-template", json={"messages": chat.HELLO}).json()["prompt"]
    assert client.generate("opta-tiny", rendered, raw=True, options=OPTIONS).response == found.response
    lines = list(client.generate("opta-tiny", "hello", options=OPTIONS, stream=True))
    assert "".join(line.response or "" for line in lines) == found.response
    brief = client.generate("opta-tiny", "hello", system="be brief", options=OPTIONS)
    assert brief.prompt_eval_count > found.prompt_eval_count


def test_without_a_prompt_the_model_is_loaded(start_lmx: Callable[..., Role]):
    lmx = start_lmx()
    with ollama.Client(host=lmx.url) as client:
        assert list(client.ps().models) == []
        for path, fields in (("chat", {"messages": []}), ("generate", {"stream": False})):
            found = post(lmx, path, **fields).json()
            assert (found["done"], found["done_reason"]) == (True, "load")
        (running,) = client.ps().models
    assert (running.model, running.context_length) == ("opta-tiny", 8192)
    assert running.size > 9_000_000


def test_an_answer_that_was_begun_goes_on(client: ollama.Client):
    whole = client.chat("opta-tiny", chat.HELLO, options=OPTIONS).message.content
    begun = whole[: whole.index(" ", 20)]
    turns = [*chat.HELLO, {"role": "assistant", "content": begun}]
    found = client.chat("opta-tiny", turns, options=OPTIONS).message.content
    assert (begun + found).startswith(whole)


def test_options_are_those_of_the_answer(client: ollama.Client):
    def drawn(**options: Any) -> str:
        return client.chat("opta-tiny", chat.HELLO, options={"num_predict": 12, **options}).message.content

    assert drawn(seed=7) == drawn(seed=7) != drawn(seed=8)
    assert drawn(seed=-1) != drawn(seed=-1)
    assert drawn(top_k=1) == drawn(temperature=0)
    assert drawn(temperature=0, repeat_penalty=1.5, num_thread=1, use_mmap=True, mirostat=0)
    words = drawn(temperature=0).split(" ")
    assert drawn(temperature=0, stop=[words[4]]) == " ".join(words)[: " ".join(words).index(words[4])]


def test_minus_one_is_what_the_context_holds(client: ollama.Client):
    found = client.generate("opta-tiny", "hello", options={**OPTIONS, "num_predict": -1, "num_ctx": 200})
    assert found.prompt_eval_count + found.eval_count == 200


def test_logprobs_come_with_their_tokens(client: ollama.Client):
    found = client.chat("opta-tiny", chat.HELLO, options=OPTIONS, logprobs=True, top_logprobs=3)
    assert "".join(one.token for one in found.logprobs) == found.message.content
    assert all(
        one.logprob == one.top_logprobs[0].logprob and len(one.top_logprobs) == 3 for one in found.logprobs
    )


def test_an_answer_is_held_to_a_format(client: ollama.Client):
    schema = {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"],
              "additionalProperties": False}  # fmt: skip
    found = client.chat("opta-tiny", chat.HELLO, format=schema, options={"temperature": 0, "num_predict": 60})
    assert json.loads(found.message.content)["n"] in (1, 2)


def test_it_tells_which_models_there_are(client: ollama.Client, lmx: Role):
    (model,) = client.list().models
    assert model.model == "opta-tiny"
    assert model.size == httpx.get(f"{lmx.url}/v1/models").json()["data"][0]["lmx"]["size_bytes"]
    assert len(model.digest) == 64
    assert model.digest == client.list().models[0].digest
    details = model.details
    assert (details.format, details.family, details.parameter_size) == ("safetensors", "llama", "9.4M")
    assert details.quantization_level == "F16"


def test_it_shows_what_a_model_says_of_itself(client: ollama.Client):
    shown = client.show("opta-tiny:latest")
    assert "<|im_start|>" in shown.template
    assert "num_predict 128" in shown.parameters
    assert shown.capabilities[0] == "completion"
    assert shown.modelinfo["general.architecture"] == "llama"
    assert shown.modelinfo["llama.context_length"] == 8192
    assert shown.modelinfo["llama.embedding_length"] == 384


def test_their_clients_find_it(lmx: Role):
    assert httpx.head(lmx.url).status_code == 200
    assert "running" in httpx.get(lmx.url).text
    assert httpx.get(f"{lmx.url}/api/version").json()["version"]


ANSWERS: dict[str, list[Event]] = {
    "thought, text and two calls": [
        Reasoning(1, "let me "), Reasoning(1, "see"), Text(1, "I "), Text(1, "look"),
        ToolCall(1, 0, "call_1", "weather"), ToolCall(1, 0, arguments='{"place": '),
        ToolCall(1, 0, arguments='"Paris"}'), ToolCall(1, 1, "call_2", "time", "{}"),
        Ended(1, "tool_calls"),
    ],
    "a number of any length": [
        ToolCall(1, 0, "call_1", "count", f'{{"to": {10**30}}}'), Ended(1, "tool_calls"),
    ],
    "nothing": [Ended(1, "stop")],
}  # fmt: skip


@pytest.mark.parametrize("case", ANSWERS)
async def test_its_lines_make_what_is_answered_whole(case: str):
    finish = Finish(1, prompt_tokens=9, cached_tokens=4, completion_tokens=20)

    async def events():
        for event in [*ANSWERS[case], finish]:
            yield event

    (choice,), _ = await gather(events())
    whole = ollama.ChatResponse.model_validate_json(encode(Reply("m", chat_line).whole(choice, finish)))
    written = b"".join([held async for held in Reply("m", chat_line).lines(events())])
    lines = [ollama.ChatResponse.model_validate_json(line) for line in written.splitlines()]
    assert "".join(line.message.content or "" for line in lines) == whole.message.content
    assert "".join(line.message.thinking or "" for line in lines) == (whole.message.thinking or "")
    calls = [call for line in lines for call in line.message.tool_calls or ()]
    assert calls == list(whole.message.tool_calls or ())
    assert [line.done for line in lines] == [False] * (len(lines) - 1) + [True]
    assert lines[-1].done_reason == whole.done_reason == "stop"


def test_a_history_of_calls_becomes_what_templates_want():
    asked = {"role": "assistant", "content": "", "thinking": "rain?", "tool_calls": [
        {"function": {"name": "weather", "arguments": {"place": 10**30}}},
        {"function": {"name": "time", "arguments": {}}},
    ]}  # fmt: skip
    history = [
        {"role": "user", "content": "hello"}, asked,
        {"role": "tool", "tool_name": "time", "content": "noon"},
        {"role": "tool", "content": "rain"},
    ]  # fmt: skip
    wanted = OllamaChat.model_validate(
        {"model": "m", "messages": history, "tools": [WEATHER], "think": "low"}
    )
    _, assistant, noon, rain = wanted.prompt.messages
    weather, clock = assistant.tool_calls
    assert assistant.reasoning == "rain?"
    assert (weather.name, json.loads(weather.arguments), len(weather.id)) == (
        "weather",
        {"place": 10**30},
        9,
    )
    assert (noon.tool_call_id, noon.name) == (clock.id, "time")
    assert (rain.tool_call_id, rain.name) == (weather.id, "weather")
    assert wanted.prompt.variables == {"enable_thinking": True, "reasoning_effort": "low"}
    assert wanted.prompt.tools[0].name == "weather"


def test_not_thinking_reaches_the_template():
    wanted = OllamaGenerate.model_validate({"model": "m", "prompt": "hello", "think": False})
    assert wanted.prompt.variables == {"enable_thinking": False}


(HELLO,) = chat.HELLO
REFUSED: dict[str, tuple[str, dict[str, Any], int, str]] = {
    "no model": ("chat", {"model": None, "messages": chat.HELLO}, 400, "model"),
    "an unknown model": ("chat", {"model": "llama3:8b", "messages": chat.HELLO}, 404, "llama3:8b"),
    "an image": ("chat", {"messages": [{**HELLO, "images": ["aGk="]}]}, 400, "images"),
    "an unknown field": ("chat", {"messages": chat.HELLO, "mood": "good"}, 400, "mood"),
    "an unknown option": ("chat", {"messages": chat.HELLO, "options": {"mood": 1}}, 400, "options.mood"),
    "mirostat": ("chat", {"messages": chat.HELLO, "options": {"mirostat": 2}}, 400, "options.mirostat"),
    "a window of penalties": ("chat", {"messages": chat.HELLO, "options": {"repeat_last_n": 64}}, 400,
                              "options.repeat_last_n"),
    "no tokens": ("chat", {"messages": chat.HELLO, "options": {"num_predict": 0}}, 400, "num_predict"),
    "a cut prompt": ("chat", {"messages": chat.HELLO, "truncate": True}, 400, "truncate"),
    "no format": ("chat", {"messages": chat.HELLO, "format": "xml"}, 400, "format"),
    "the format of a duration": ("chat", {"messages": chat.HELLO, "keep_alive": []}, 400, "keep_alive"),
    "unloading": ("generate", {"keep_alive": 0}, 400, "keep_alive"),
    "a suffix": ("generate", {"prompt": "hi", "suffix": "there"}, 400, "suffix"),
    "a template": ("generate", {"prompt": "hi", "template": "{{ .Prompt }}"}, 400, "template"),
    "an old context": ("generate", {"prompt": "hi", "context": [1]}, 400, "context"),
    "a raw prompt with a system": ("generate", {"prompt": "hi", "system": "x", "raw": True}, 400, "raw"),
    "a raw prompt that thinks": ("generate", {"prompt": "hi", "think": True, "raw": True}, 400, "raw"),
    "too long for the context": ("generate", {"prompt": "hi " * 99, "options": {"num_ctx": 90}}, 400, "90"),
    "nothing to show": ("show", {"model": None}, 400, "model"),
    "vectors of a chat model": ("embed", {"input": "hi"}, 400, "chat model"),
    "a path that is not there": ("pull", {}, 404, "/api/pull"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_refused_by_its_name(lmx: Role, case: str):
    path, fields, status, named = REFUSED[case]
    response = post(lmx, path, **fields)
    assert response.status_code == status, response.text
    assert response.json().keys() == {"error"}
    assert named in response.json()["error"]


def test_every_failure_below_the_path_is_in_their_words(lmx: Role):
    url = f"{lmx.url}/api/chat"
    refused = [
        (httpx.get(url), 405),
        (httpx.post(url, json={}, headers={"Host": "evil.example"}), 403),
        (httpx.post(url, content=b"not json"), 400),
        (httpx.post(url, content=b" " * (11 << 20), timeout=60), 413),
    ]
    for response, status in refused:
        assert response.status_code == status
        assert response.json().keys() == {"error"}


def test_their_client_raises_what_is_refused(client: ollama.Client):
    with pytest.raises(ollama.ResponseError, match="no/such") as error:
        list(client.chat("no/such", chat.HELLO, stream=True))
    assert error.value.status_code == 404


def test_hanging_up_ends_the_generation(lmx: Role):
    wanted = {"model": "opta-tiny", "messages": chat.HELLO, "options": {"num_predict": -1}}
    with httpx.stream("POST", f"{lmx.url}/api/chat", json=wanted, timeout=60) as response:
        lines = response.iter_lines()
        for _ in range(3):
            next(lines)
        assert chat.runner(lmx.url)["activity"]["decoding"] == 1
    wait_until(lambda: chat.idle(lmx.url), "the sequence to leave the batch", 5)
