"""`/v1`, asked by OpenAI's own Python client."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest
from openai import AsyncOpenAI

from tests.cli.daemon.conftest import V3, kind, until
from tests.processes import Role
from tests.scripted import Scripted, call, end, says, text


@pytest.fixture(scope="module")
def allowed(standing: tuple[Role, int]) -> None:
    (standing[0].home / "config.toml").write_text("openai_api = true\n")


@pytest.fixture
def model(standing_model: Scripted) -> Scripted:
    return standing_model


@pytest.fixture
def v3(standing_v3: V3) -> V3:
    return standing_v3


@pytest.fixture
async def client(v3: V3) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{v3.role.url}/v1", api_key=v3.role.token, timeout=30) as client:
        yield client


def user(words: str) -> Any:
    return {"role": "user", "content": words}


def assistant(words: str) -> Any:
    return {"role": "assistant", "content": words}


async def test_it_is_off_until_the_user_turns_it_on(v3: V3, client: AsyncOpenAI):
    for asking in (client.models.list(), client.chat.completions.create(model="auto", messages=[user("hi")])):
        with pytest.raises(openai.NotFoundError, match="openai_api = true") as off:
            await asking
        assert off.value.code == "openai_api_off"


@pytest.mark.usefixtures("allowed")
async def test_a_turn_is_run_whole(v3: V3, model: Scripted, client: AsyncOpenAI, tmp_path: Path):
    model.will(*says("Hel", "lo."))
    made = await client.chat.completions.create(
        model="auto",
        messages=[{"role": "system", "content": "Be brief."}, user("say hello")],
        metadata={"cwd": str(tmp_path)},
    )
    assert (made.choices[0].message.content, made.choices[0].finish_reason) == ("Hello.", "stop")
    assert (made.usage.prompt_tokens, made.usage.completion_tokens, made.usage.total_tokens) == (3, 2, 5)
    detail = await v3.detail(made.metadata["session"])
    assert (detail["title"], detail["cwd"], detail["system"]) == ("say hello", str(tmp_path), "Be brief.")
    assert [message["content"] for message in detail["messages"]] == ["say hello", "Hello."]


@pytest.mark.usefixtures("allowed")
@pytest.mark.parametrize("stream", [False, True])
async def test_the_daemon_runs_the_tools_and_the_client_reads_the_answer(
    model: Scripted, client: AsyncOpenAI, tmp_path: Path, stream: bool
):
    (tmp_path / "note.txt").write_text("42 is the answer")
    model.will(text("I look."), call("read_file", '{"path": "note.txt"}'), end("tool_calls"))
    model.will(*says("42."))
    asked = {"model": "auto", "messages": [user("read the note")], "metadata": {"cwd": str(tmp_path)}}
    if stream:
        chunks = [chunk async for chunk in await client.chat.completions.create(**asked, stream=True)]
        said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    else:
        made = await client.chat.completions.create(**asked)
        said = made.choices[0].message.content
        assert made.usage.total_tokens == 10  # of both requests
    assert said == "I look.\n\n42."
    assert "42 is the answer" in model.requests[1]["messages"][-1]["content"]


@pytest.mark.usefixtures("allowed")
async def test_a_turn_is_streamed_as_it_comes(v3: V3, model: Scripted, client: AsyncOpenAI):
    gate = asyncio.Event()
    model.will(text("Hel"), gate, text("lo."), end("length"))
    stream = await client.chat.completions.create(
        model="auto", messages=[user("stream it")], stream=True, stream_options={"include_usage": True}
    )
    said, last = "", None
    async for chunk in stream:
        for choice in chunk.choices:
            said += choice.delta.content or ""
            last = choice.finish_reason
        if said == "Hel":
            gate.set()
    assert (said, last) == ("Hello.", "length")
    assert (chunk.choices, chunk.usage.total_tokens) == ([], 5)


@pytest.mark.usefixtures("allowed")
async def test_a_conversation_goes_on_in_its_session(v3: V3, model: Scripted, client: AsyncOpenAI):
    async def ask(*messages: Any) -> tuple[str, list[str]]:
        model.will(*says(f"answer {len(messages)}"))
        made = await client.chat.completions.create(model="auto", messages=messages)
        told = [message["content"] for message in model.requests[-1]["messages"][1:]]
        return made.metadata["session"], told

    first, _ = await ask(user("count"))
    second, told = await ask(user("count"), assistant("answer 1"), user("more"))
    assert (second, told) == (first, ["count", "answer 1", "more"])
    # The same past again: the session has gone on, so another one takes it.
    other, told = await ask(user("count"), assistant("answer 1"), user("else"))
    assert (other != first, told) == (True, ["count", "answer 1", "else"])
    # A past that never happened here, two messages of one side in a row.
    foreign, told = await ask(user("count"), user("up"), assistant("one"), assistant("two"), user("more"))
    assert (foreign not in (first, other), told) == (True, ["count\n\nup", "one\n\ntwo", "more"])
    detail = await v3.detail(foreign)
    assert (detail["turns"], detail["title"], detail["active"]) == (2, "count", None)
    again, _ = await ask(
        user("count\n\nup"), assistant("one\n\ntwo"), user("more"), assistant("answer 5"), user("on")
    )
    assert again == foreign


@pytest.mark.usefixtures("allowed")
async def test_a_session_that_is_named_takes_the_message(v3: V3, model: Scripted, client: AsyncOpenAI):
    session = await v3.create()
    model.will(*says("One."))
    model.will(*says("Two."))
    for words in ("first", "second"):
        made = await client.chat.completions.create(
            model="auto", messages=[user(words)], metadata={"session": session}
        )
        assert made.metadata["session"] == session
    assert [m["content"] for m in (await v3.detail(session))["messages"]] == [
        "first",
        "One.",
        "second",
        "Two.",
    ]
    with pytest.raises(openai.BadRequestError, match="new message alone"):
        await client.chat.completions.create(
            model="auto", messages=[user("a"), assistant("b"), user("c")], metadata={"session": session}
        )
    with pytest.raises(openai.NotFoundError, match="no session 'nowhere'"):
        await client.chat.completions.create(
            model="auto", messages=[user("a")], metadata={"session": "nowhere"}
        )


TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
IMAGE = [{"type": "image_url", "image_url": {"url": "data:,"}}]


@pytest.mark.usefixtures("allowed")
@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"tools": [TOOL]}, "tools: The daemon runs its own tools"),
        ({"temperature": 0.5}, "temperature: A turn samples"),
        ({"extra_body": {"colour": "blue"}}, "colour"),
        ({"n": 2}, "n:"),
        ({"messages": []}, "messages"),
        ({"messages": [assistant("hi")]}, "messages.0"),
        ({"messages": [user("hi"), assistant("ho")]}, "the last one must be the user's"),
        ({"messages": [user("hi"), {"role": "system", "content": "x"}, user("ho")]}, "messages.1"),
        ({"messages": [user("  ")]}, "messages.0"),
        ({"messages": [user("x" * 600_000), user("y" * 600_000)]}, "text: "),
        ({"messages": [{"role": "user", "content": IMAGE}]}, "messages.0.content"),
        ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "y"}]}, "messages.0"),
        ({"metadata": {"cwd": "/no/such/folder"}}, "not a folder"),
        ({"metadata": {"mood": "good"}}, "metadata.mood"),
    ],
)
async def test_what_a_turn_cannot_do_is_refused_by_name(
    client: AsyncOpenAI, wrong: dict[str, Any], named: str
):
    asked = {"model": "auto", "messages": [user("hi")], **wrong}
    with pytest.raises(openai.BadRequestError) as refused:
        await client.chat.completions.create(**asked)
    assert named in refused.value.body["message"]
    assert refused.value.type == "invalid_request_error"


@pytest.mark.usefixtures("allowed")
async def test_a_turn_that_fails_is_an_error_and_is_not_repeated(
    v3: V3, model: Scripted, client: AsyncOpenAI
):
    gone = b'{"error": {"message": "no such model", "code": "model_not_found"}}'
    model.will(gone, status=404)
    with pytest.raises(openai.NotFoundError, match="opta models") as failed:
        await client.chat.completions.create(model="gone", messages=[user("fail")])
    assert (failed.value.code, len(model.requests)) == ("model_not_found", 1)
    assert failed.value.response.headers["x-should-retry"] == "false"
    model.will(gone, status=404)
    stream = await client.chat.completions.create(model="gone", messages=[user("fail again")], stream=True)
    with pytest.raises(openai.APIError, match="opta models"):
        async for _ in stream:
            pass


@pytest.mark.usefixtures("allowed")
@pytest.mark.parametrize("stream", [False, True])
async def test_who_hangs_up_ends_the_turn_and_a_cancelled_one_is_an_error(
    v3: V3, model: Scripted, client: AsyncOpenAI, stream: bool
):
    session = await v3.create()
    for hang_up in (True, False):
        model.will(text("Hel"), asyncio.Event())
        seen = (await v3.detail(session))["seq"]

        async def ask() -> None:
            made = await client.chat.completions.create(
                model="auto", messages=[user("wait")], metadata={"session": session}, stream=stream
            )
            async for _ in made:
                pass

        asking = asyncio.create_task(ask())
        await until(v3.stream(session, seen), "text.delta")
        if hang_up:
            asking.cancel()
        else:
            await v3.cancel(session)
            with pytest.raises(openai.APIError, match="cancelled by another client"):
                await asking
        assert kind((await v3.settled(session, seen))[-1]) == "turn.cancelled"


@pytest.mark.usefixtures("allowed")
async def test_a_stream_that_is_left_at_any_moment_ends_its_turn(v3: V3, model: Scripted):
    session = await v3.create()
    body = json.dumps(
        {"model": "auto", "messages": [user("wait")], "metadata": {"session": session}, "stream": True}
    )
    head = "".join(f"{name}: {value}\r\n" for name, value in v3.role.headers.items())
    request = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {urlsplit(v3.role.url).netloc}\r\n{head}"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    )
    for moment in range(20):
        model.will(text("Hel"), asyncio.Event())
        seen = (await v3.detail(session))["seq"]
        _, writer = await asyncio.open_connection("127.0.0.1", urlsplit(v3.role.url).port)
        writer.write(request.encode())
        await until(v3.stream(session, seen), "turn.started")
        await asyncio.sleep(moment * 0.0003)  # so that it comes before the answer's head, behind it, between
        writer.close()
        assert kind((await v3.settled(session, seen))[-1]) == "turn.cancelled"


@pytest.mark.usefixtures("allowed")
async def test_a_stranger_and_a_wrong_path_are_told_in_openais_words(v3: V3, client: AsyncOpenAI):
    stranger = client.with_options(api_key="guess", max_retries=0)
    with pytest.raises(openai.AuthenticationError) as refused:
        await stranger.models.list()
    assert refused.value.code == "unauthorized"
    with pytest.raises(openai.NotFoundError) as missing:
        await client.embeddings.create(model="auto", input="x", encoding_format="float")
    assert missing.value.code == "not_found"


@pytest.mark.usefixtures("allowed")
async def test_the_models_are_listed(v3: V3, model: Scripted, client: AsyncOpenAI):
    model.models = ["opta-tiny", "opta-small"]
    assert [each.id for each in (await client.models.list()).data] == ["opta-tiny", "opta-small"]


@pytest.mark.usefixtures("allowed")
async def test_that_no_server_answers_is_no_empty_list(standing: tuple[Role, int]):
    role = standing[0]
    async with AsyncOpenAI(base_url=f"{role.url}/v1", api_key=role.token, max_retries=0) as client:
        with pytest.raises(openai.InternalServerError, match="opta serve") as failed:
            await client.models.list()
        assert failed.value.code == "lmx_unreachable"
