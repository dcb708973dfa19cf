"""Clients that know nothing of one another do anything to the same few sessions; what is left is whole."""

import asyncio
import random
from typing import Any

import httpx
import pytest

from tests.cli.daemon.conftest import ENDINGS, V3
from tests.scripted import Answer, Scripted, says, text

SESSIONS = ("a", "b", "c")
CLIENTS, REQUESTS = 6, 40
KINDS = ("turn.queued", "turn.started", *ENDINGS)
Request = tuple[str, str, dict[str, Any] | None]


def improvised(request: dict[str, Any]) -> Answer:
    """An answer, or the beginning of one that does not come to its end."""
    slow = request["messages"][-1]["content"].endswith("slow")
    return Answer([text("Well"), asyncio.Event()] if slow else says("Well", " done."))


def anything(dice: random.Random) -> Request:
    """Anything that a client may ask for, of turns that may be there."""
    session, turn = f"/v3/sessions/{dice.choice(SESSIONS)}", f"t{dice.randrange(12)}"
    submit = {"text": dice.choice(("quick", "slow")), "id": turn}
    choices: list[Request] = [
        ("POST", f"{session}/turns", submit),
        ("POST", f"{session}/turns", {"text": "one more"}),
        ("POST", f"{session}/turns/{turn}/steer", {"text": "and"}),
        ("POST", f"{session}/cancel", dice.choice(({}, {"turn": turn}))),
        ("PATCH", session, {"title": turn, "archived": dice.random() < 0.5}),
        ("POST", f"{session}/fork", {"id": dice.choice(SESSIONS)}),
        ("POST", "/v3/sessions", {"id": dice.choice(SESSIONS)}),
        ("POST", "/v3/sessions", {"id": dice.choice(SESSIONS)}),
        ("DELETE", session, None),
        ("GET", f"{session}/export?format=json", None),
    ]
    return dice.choice(choices)


async def client(v3: V3, dice: random.Random) -> list[httpx.Response]:
    """Its answers; of some requests it does not wait for one."""
    answers = []
    for _ in range(REQUESTS):
        method, path, content = anything(dice)
        asked = asyncio.create_task(v3.http.request(method, path, json=content))
        if dice.random() < 0.1:
            await asyncio.wait([asked], timeout=dice.random() / 50)
            asked.cancel()
        else:
            answers.append(await asked)
    return answers


def whole(events: list[Any], session: dict[str, Any]) -> None:
    """Every turn began in its place in the queue, or never, and ended once; the row says what events say."""
    of = {kind: [e["turn"] for e in events if e["event"]["type"] == kind] for kind in KINDS}
    queued, ended = of["turn.queued"], [turn for kind in ENDINGS for turn in of[kind]]
    numbers = [event["seq"] for event in events]
    assert numbers == sorted(set(numbers))
    assert sorted(ended) == sorted(queued) == sorted(set(queued))
    assert of["turn.started"] == [turn for turn in queued if turn in of["turn.started"]]
    assert (session["active"], session["turns"]) == (None, len(queued))
    assert session["seq"] == (numbers[-1] if numbers else 0)


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_clients_do_at_once_what_is_left_is_whole(
    seed: int, standing_v3: V3, standing_model: Scripted
):
    v3, standing_model.improvise = standing_v3, improvised
    dice = random.Random(seed)
    await asyncio.gather(*(v3.http.post("/v3/sessions", json={"id": id}) for id in SESSIONS))
    heard = await asyncio.gather(*(client(v3, random.Random(dice.random())) for _ in range(CLIENTS)))
    assert [answer.text for answers in heard for answer in answers if answer.status_code >= 500] == []
    for id in SESSIONS:
        await v3.http.post("/v3/sessions", json={"id": id})
        await v3.cancel(id)
        whole(await v3.events(id), await v3.detail(id))
    assert "Traceback" not in v3.role.log.read_text()
