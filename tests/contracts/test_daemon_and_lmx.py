"""What the daemon sends against what LMX reads, and what LMX answers against what the daemon reads."""

from collections.abc import AsyncIterator

import pytest

import inference.errors
from cli.clients.lmx import LMX
from cli.protocol.failures import HINTS, Failure
from cli.protocol.messages import Finish, Message
from opta.errors import Refusal
from tests.inference.chat import idle
from tests.processes import Role, free_port, wait_until

ASKED = [Message(role="system", content="Be brief."), Message(role="user", content="say hello")]


@pytest.fixture
async def client(lmx: Role) -> AsyncIterator[LMX]:
    client = LMX(lmx.url)
    yield client
    await client.close()


async def test_an_answer_is_text_and_then_its_end_with_true_counts(client: LMX):
    *texts, finish = [piece async for piece in client.chat("auto", ASKED, [])]
    assert all(isinstance(piece, str) for piece in texts)
    assert isinstance(finish, Finish)
    assert finish.usage.prompt_tokens > 0
    assert finish.usage.completion_tokens >= len(texts)


async def test_a_history_of_turns_is_accepted(client: LMX):
    said = Message(role="assistant", content="")
    history = [*ASKED, said, Message(role="user", content="again"), said, ASKED[1]]
    pieces = [piece async for piece in client.chat("opta-tiny", history, [])]
    assert isinstance(pieces[-1], Finish)


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
