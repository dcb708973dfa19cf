"""OpenAI's wire against a scripted server: what passes, how long silence may last, what is never repeated."""

import asyncio
import threading
from itertools import pairwise

import pytest

from cli.clients.openai import OpenAI
from cli.clients.refusals import Busy
from cli.config import Limits
from cli.protocol.failures import Failure
from cli.protocol.messages import Finish, Progress, Reasoning, ToolCall
from tests.cli.clients.conftest import said
from tests.scripted import BREAK, Scripted, call, chunk, end, says, text


@pytest.fixture
def client(one: Scripted, closing) -> OpenAI:
    return closing(OpenAI(one.url, "cloud", key=lambda: "sk-1"))


def thought(piece: str, word: str = "reasoning_content") -> bytes:
    return chunk(choices=[{"index": 0, "delta": {word: piece}, "finish_reason": None}])


async def test_progress_thoughts_text_and_calls_are_pieces_of_their_own(client: OpenAI, one: Scripted):
    one.will(
        b": reading 512/2000\n\n: reading 2000/2000\n\n: ping\n\n",
        thought("I "),
        thought("add.", "reasoning"),
        text("So"),
        call("add", '{"a":1}'),
        end("tool_calls"),
    )
    *pieces, finish = await said(client)
    assert pieces == [
        Progress(done=512, total=2000),
        Progress(done=2000, total=2000),
        Progress(done=2000, total=2000),
        Reasoning(text="I "),
        Reasoning(text="add."),
        "So",
        ToolCall(id="call_a", name="add", arguments='{"a":1}'),
    ]
    assert isinstance(finish, Finish)
    assert finish.reason == "tool_calls"


async def test_the_key_goes_in_the_header_and_options_into_the_body(client: OpenAI, one: Scripted):
    one.will(*says("a"))
    await said(client, max_tokens=5)
    assert "authorization: bearer sk-1" in one.heads[0]
    assert one.heads[0].startswith("post /v1/chat/completions ")
    assert one.requests[0]["max_tokens"] == 5


async def test_a_base_url_with_a_path_is_the_base(one: Scripted, closing):
    one.will(*says("a"))
    await said(closing(OpenAI(f"{one.url}/api/v3/", "cloud")))
    assert one.heads[0].startswith("post /api/v3/chat/completions ")
    assert "authorization" not in one.heads[0]


async def test_no_proxy_of_the_environment_has_a_say(one: Scripted, other: Scripted, closing, monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, other.url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    one.will(*says("a"))
    assert "a" in await said(closing(OpenAI(one.url, "cloud")))
    assert not other.heads


async def test_a_redirect_is_not_followed(client: OpenAI, one: Scripted, other: Scripted):
    one.will(b"", status=307, location=f"{other.url}/v1/chat/completions")
    with pytest.raises(Failure) as caught:
        await said(client)
    assert caught.value.code == "upstream_refused"
    assert not other.heads


async def test_life_before_the_first_token_has_no_limit_and_silence_has(one: Scripted, closing):
    limits = Limits(first_token_seconds=0.5, idle_seconds=0.5)
    client = closing(OpenAI(one.url, "cloud", limits=limits))
    steps = [asyncio.Event() for _ in range(8)]
    one.will(*(step for event in steps for step in (b": ping\n\n", event)), *says("late"))
    answer = asyncio.create_task(said(client))
    await one.asked.wait()
    loop, began = asyncio.get_running_loop(), asyncio.get_running_loop().time()
    for event in steps:  # 1.2 s of it, and never half a second without a sign
        await asyncio.sleep(0.15)
        event.set()
    pieces = await answer
    assert pieces[:9] == [*[Progress(done=0, total=0, work="waiting")] * 8, "late"]  # each sign is passed on
    assert loop.time() - began > 2 * limits.first_token_seconds
    assert len(one.requests) == 1


@pytest.mark.parametrize(
    ("before", "limits"),
    [
        ([], Limits(first_token_seconds=0.2, idle_seconds=60)),
        ([b": ping\n\n"], Limits(first_token_seconds=0.2, idle_seconds=60)),
        ([text("a")], Limits(first_token_seconds=60, idle_seconds=0.2)),
    ],
)
async def test_silence_ends_the_answer_and_nothing_is_asked_again(one: Scripted, closing, before, limits):
    client = closing(OpenAI(one.url, "cloud", limits=limits))
    one.will(*before, asyncio.Event())
    with pytest.raises(Failure) as caught:
        await said(client)
    assert caught.value.code == "upstream_silent"
    assert "0.2 s" in caught.value.message
    await asyncio.wait_for(one.hung_up.wait(), 5)
    assert len(one.requests) == 1


async def test_an_answer_that_breaks_off_is_not_asked_for_again(client: OpenAI, one: Scripted):
    one.will(text("half"), BREAK)
    one.will(*says("whole"))
    with pytest.raises(Failure) as caught:
        await said(client)
    assert caught.value.code == "upstream_truncated"
    assert len(one.requests) == 1


@pytest.mark.parametrize(
    ("status", "code"),
    [(401, "provider_unauthorized"), (400, "upstream_refused"), (500, "upstream_error")],
)
async def test_a_refusal_keeps_the_servers_words(client: OpenAI, one: Scripted, status, code):
    one.will(b'{"error": {"message": "no such thing"}}', status=status)
    with pytest.raises(Failure) as caught:
        await said(client)
    assert (caught.value.code, caught.value.message) == (code, "no such thing.")


async def test_a_refusal_that_is_no_json_is_told_with_its_status(client: OpenAI, one: Scripted):
    one.will(b"<html>", status=502)
    with pytest.raises(Failure, match="502: '<html>'"):
        await said(client)


@pytest.mark.parametrize("after", ["7", "7.5", "Wed, 21 Oct 2015 07:28:00 GMT"])
async def test_busy_says_when(client: OpenAI, one: Scripted, after):
    one.will(b'{"error": {"message": "later"}}', status=429, retry_after=after)
    with pytest.raises(Busy) as caught:
        await said(client)
    assert caught.value.after == (float(after) if after[0] == "7" else 0)


async def test_a_key_that_was_refused_is_asked_for_again(one: Scripted, closing):
    keys = iter(["old", "new"])
    client = closing(OpenAI(one.url, "cloud", key=lambda: next(keys)))
    one.will(b"{}", status=401)
    one.will(*says("a"))
    with pytest.raises(Failure):
        await said(client)
    await said(client)
    assert ["old" in head for head in one.heads] == [True, False]
    assert "bearer new" in one.heads[1]


@pytest.mark.parametrize("size", [1, 2, 3, 7])
async def test_frames_are_the_same_however_they_are_cut(client: OpenAI, one: Scripted, size):
    whole = b": reading 1/2\r\n\r\n" + text("a\u2028b").replace(b"\n", b"\r\n") + thought("c") + end()
    cuts = [*range(0, len(whole), size), len(whole)]
    one.will(*(whole[start:stop] for start, stop in pairwise(cuts)))
    *pieces, _ = await said(client)
    assert pieces == [Progress(done=1, total=2), "a\u2028b", Reasoning(text="c")]


async def test_a_keychain_that_stays_locked_is_said_and_holds_one_thread(one: Scripted, closing):
    unlocked, asked = threading.Event(), []

    def key() -> str:
        asked.append(1)
        unlocked.wait(10)
        return "sk-1"

    client = closing(OpenAI(one.url, "cloud", key=key, limits=Limits(connect_seconds=0.1)))
    for _ in range(2):
        with pytest.raises(Failure, match="may be locked") as caught:
            await said(client)
        assert caught.value.code == "key_unreadable"
    unlocked.set()
    one.will(*says("a"))
    await said(client)
    assert ("authorization: bearer sk-1" in one.heads[0], asked) == (True, [1])
