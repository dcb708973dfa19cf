"""What the daemon sends against what LMX reads, and what LMX answers against what the daemon reads."""

import json
from collections.abc import AsyncIterator

import pytest

import inference.errors
from cli.clients.anthropic import Anthropic
from cli.clients.lmx import LMX
from cli.clients.refusals import Refused
from cli.protocol.failures import HINTS, Failure
from cli.protocol.messages import Finish, Message, Piece, Progress, ToolCall
from opta.errors import Refusal
from tests.inference.chat import idle
from tests.processes import Role, free_port, wait_until

ASKED = [Message(role="system", content="Be brief."), Message(role="user", content="say hello")]

ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Add one.",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
    },
}


@pytest.fixture
async def client(lmx: Role) -> AsyncIterator[LMX]:
    client = LMX(lmx.url)
    yield client
    await client.close()


async def test_an_answer_is_how_far_it_is_read_then_text_and_then_its_end_with_true_counts(client: LMX):
    *pieces, finish = [piece async for piece in client.chat("auto", ASKED, [])]
    read = [piece for piece in pieces if isinstance(piece, Progress)]
    texts = pieces[len(read) :]
    assert all(isinstance(piece, str) for piece in texts)
    assert [piece.done for piece in read] == sorted(piece.done for piece in read)
    assert all(0 <= piece.done <= piece.total for piece in read)
    assert isinstance(finish, Finish)
    assert finish.usage.prompt_tokens > 0
    assert finish.usage.completion_tokens >= len(texts)


async def test_a_history_of_turns_is_accepted(client: LMX):
    said = Message(role="assistant", content="")
    history = [*ASKED, said, Message(role="user", content="again"), said, ASKED[1]]
    pieces = [piece async for piece in client.chat("opta-tiny", history, [])]
    assert isinstance(pieces[-1], Finish)


async def test_the_context_is_known_and_a_prompt_is_counted_as_it_is_read(client: LMX):
    card = await client.card("auto")
    assert card.counts
    assert card.context and card.context >= 1024
    *_, finish = [piece async for piece in client.chat("auto", ASKED, [])]
    assert isinstance(finish, Finish)
    assert await client.count("auto", ASKED, []) == finish.usage.prompt_tokens


async def test_what_lmx_tells_of_itself_is_read(client: LMX):
    health, models = [json.loads(await client.read(name, {})) for name in ("health", "models")]
    assert health["service"] == "lmx"
    assert [model["id"] for model in models["data"]] == ["opta-tiny"]
    with pytest.raises(Refused) as caught:
        await client.read("prefix-cache", {"model": "nobody"})
    assert (caught.value.status, caught.value.code) == (404, "model_not_found")


@pytest.fixture
async def anthropic(lmx: Role) -> AsyncIterator[Anthropic]:
    client = Anthropic(lmx.url, "claude", max_output_tokens=64)
    yield client
    await client.close()


async def test_anthropics_api_gives_the_same_answer(client: LMX, anthropic: Anthropic):
    options = {"temperature": 0, "max_tokens": 40}
    one = [piece async for piece in client.chat("opta-tiny", ASKED, [], **options)]
    other = [piece async for piece in anthropic.chat("opta-tiny", ASKED, [], **options)]
    assert said(one) == said(other) != ""
    assert isinstance(one[-1], Finish)
    assert isinstance(other[-1], Finish)
    assert other[-1].usage.prompt_tokens == one[-1].usage.prompt_tokens > 0
    assert other[-1].usage.completion_tokens == one[-1].usage.completion_tokens
    assert other[-1].usage.cached_tokens > 0  # kept from the first


async def test_anthropics_api_takes_tools_and_their_results(anthropic: Anthropic):
    force = {"tool_choice": {"type": "function", "function": {"name": "add"}}, "temperature": 0}
    pieces = [piece async for piece in anthropic.chat("opta-tiny", ASKED, [ADD], **force)]
    (call,) = [piece for piece in pieces if isinstance(piece, ToolCall)]
    assert call.name == "add"
    assert set(json.loads(call.arguments)) == {"a"}
    call = call.model_copy(update={"arguments": '{"a": 3}'})
    answered = [
        Message(role="assistant", content="", calls=(call,)),
        Message(role="tool", content="4", call=call.id),
        Message(role="user", content="and now?"),
    ]
    pieces = [piece async for piece in anthropic.chat("opta-tiny", [*ASKED, *answered], [ADD])]
    assert isinstance(pieces[-1], Finish)


async def test_anthropics_api_lists_counts_and_refuses(anthropic: Anthropic):
    assert [(model.id, model.context is not None) for model in await anthropic.listing()] == [
        ("opta-tiny", True)
    ]
    assert (await anthropic.card("opta-tiny")).counts
    *_, finish = [piece async for piece in anthropic.chat("opta-tiny", ASKED, [])]
    assert isinstance(finish, Finish)
    assert await anthropic.count("opta-tiny", ASKED, []) == finish.usage.prompt_tokens
    with pytest.raises(Failure) as caught:
        await anext(anthropic.chat("nobody", ASKED, []))
    assert (caught.value.code, "nobody" in caught.value.message) == ("model_not_found", True)


def said(pieces: list[Piece]) -> str:
    return "".join(piece for piece in pieces if isinstance(piece, str))


async def test_the_models_are_listed(client: LMX):
    assert await client.models() == ["opta-tiny"]


async def test_an_address_that_ends_in_v1_is_the_same_server(lmx: Role):
    client = LMX(lmx.url + "/v1/")
    assert await client.models() == ["opta-tiny"]
    await client.close()


async def test_an_unknown_model_is_refused_by_its_code(client: LMX):
    with pytest.raises(Failure) as caught:
        await anext(client.chat("nobody", ASKED, []))
    assert caught.value.code == "model_not_found"
    assert "nobody" in caught.value.message


async def test_what_lmx_refuses_is_told_in_its_words(client: LMX):
    with pytest.raises(Failure) as caught:
        await anext(client.chat("auto", [], []))
    assert caught.value.code == "upstream_refused"
    assert "messages" in caught.value.message


async def test_a_closed_answer_stops_the_generation(client: LMX, lmx: Role):
    answer = client.chat("auto", ASKED, [])
    await anext(answer)
    await answer.aclose()
    wait_until(lambda: idle(lmx.url), "the generation to end", 5)


async def test_an_lmx_that_is_not_there_is_named():
    client = LMX(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(Failure) as caught:
        await client.models()
    assert caught.value.code == "lmx_unreachable"
    assert client.url in caught.value.message
    await client.close()


def test_every_code_of_lmx_has_a_hint():
    codes = {
        kind.code
        for kind in vars(inference.errors).values()
        if isinstance(kind, type) and issubclass(kind, Refusal) and kind.code != Refusal.code
    }
    assert codes - set(HINTS) == set()
