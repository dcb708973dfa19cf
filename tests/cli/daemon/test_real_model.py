"""The daemon in front of a real LMX and a real model: the paths a user takes."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.daemon.conftest import ENDINGS, V3, body, kind, until
from tests.inference.chat import idle
from tests.processes import Role, wait_until

Start = Callable[..., Role]
Connect = Callable[[Role], V3]


@pytest.fixture
def standing(start_daemon: Start, connect: Connect, lmx: Role) -> V3:
    return connect(start_daemon(lmx_url=lmx.url))


async def test_a_turn_goes_through_and_replay_is_live(standing: V3):
    session = await standing.create()
    await standing.submit(session, "say hello")
    live = await standing.settled(session)
    done = body(live[-1])
    assert done["type"] == "turn.done"
    assert done["usage"]["completion_tokens"] > 0
    assert done["text"] == "".join(body(data)["text"] for data in live if kind(data) == "text.delta")
    assert await standing.settled(session) == live
    assert await until(standing.socket(session), *ENDINGS) == live
    assert await standing.events(session) == [json.loads(data) for data in live]


async def test_the_second_turn_knows_the_first(standing: V3):
    session = await standing.create()
    for words in ("say hello", "and again"):
        await standing.submit(session, words)
    seen = await standing.settled(session, turns=2)
    first, second = (body(data)["usage"] for data in seen if kind(data) == "turn.done")
    assert second["prompt_tokens"] > first["prompt_tokens"] + first["completion_tokens"]


async def test_a_model_that_is_not_there_fails_the_turn_by_its_name(standing: V3):
    session = await standing.create(model="nobody")
    await standing.submit(session, "hi")
    failed = body((await standing.settled(session))[-1])
    assert (failed["code"], "nobody" in failed["message"]) == ("model_not_found", True)


async def test_a_cancelled_turn_frees_the_model(
    start_daemon: Start, connect: Connect, start_lmx: Start, long_winded: Path
):
    lmx = start_lmx(LMX_MODELS=str(long_winded))
    v3 = connect(start_daemon(lmx_url=lmx.url))
    session = await v3.create()
    await v3.submit(session, "go on")
    await until(v3.stream(session), "text.delta")
    assert len(await v3.cancel(session)) == 1
    wait_until(lambda: idle(lmx.url), "the generation to end", 5)
