"""What followers see: everything, once, in order, and the same bytes however and whenever they look."""

import asyncio
import json
from itertools import pairwise

import pytest
import websockets

from tests.cli.daemon.conftest import ENDINGS, V3, body, kind, until
from tests.scripted import Scripted, end, says, text


@pytest.fixture
def model(standing_model: Scripted) -> Scripted:
    return standing_model


@pytest.fixture
def v3(standing_v3: V3) -> V3:
    return standing_v3


async def test_an_answer_is_streamed_and_kept(v3: V3, model: Scripted):
    model.will(*says("Hel", "lo."))
    session = await v3.create(system="Be brief.")
    turn = await v3.submit(session, "say hello")
    seen = await v3.settled(session)
    assert [kind(data) for data in seen if kind(data) != "text.delta"] == [
        "turn.queued", "turn.started", "text.done", "turn.done",
    ]  # fmt: skip
    assert "".join(body(data)["text"] for data in seen if kind(data) == "text.delta") == "Hello."
    assert {json.loads(data)["turn"] for data in seen} == {turn}
    done = body(seen[-1])
    assert (done["text"], done["finish_reason"]) == ("Hello.", "stop")
    assert done["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "cached_tokens": 0}
    assert model.requests[0]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "say hello"},
    ]
    detail = await v3.detail(session)
    assert [(m["role"], m["content"]) for m in detail["messages"]] == [
        ("user", "say hello"),
        ("assistant", "Hello."),
    ]
    assert (detail["title"], detail["turns"], detail["active"]) == ("say hello", 1, None)


async def test_the_first_text_is_shown_while_the_model_goes_on(v3: V3, model: Scripted):
    gate = asyncio.Event()
    model.will(text("Hel"), gate, text("lo."), end())
    session = await v3.create()
    await v3.submit(session, "hi")
    events = v3.stream(session)
    async for data in events:
        if kind(data) == "text.delta":
            break
    assert body(data)["text"] == "Hel"
    assert (await v3.detail(session))["active"]
    gate.set()
    assert kind((await until(events, *ENDINGS))[-1]) == "turn.done"


async def test_replay_is_live_over_every_transport(v3: V3, model: Scripted):
    gate = asyncio.Event()
    awkward = ["é\u2028", "\n\ndata: x\n", "\x85😀", '"quoted"\\', "\r\n", "\x00"]
    model.will(text("begin "), gate, *(text(piece) for piece in awkward), end())
    session = await v3.create()
    live = [asyncio.create_task(until(f(session), *ENDINGS)) for f in (v3.stream, v3.socket)]
    await v3.submit(session, "hi")
    await until(v3.stream(session), "text.delta")
    late = [asyncio.create_task(until(f(session), *ENDINGS)) for f in (v3.stream, v3.socket)]
    gate.set()
    first, *others = await asyncio.gather(*live, *late)
    replays = [await until(f(session), *ENDINGS) for f in (v3.stream, v3.socket)]
    assert all(other == first for other in (*others, *replays))
    assert await v3.events(session) == [json.loads(data) for data in first]
    assert body(first[-1])["text"] == "begin " + "".join(awkward)
    assert all(json.loads(a)["seq"] < json.loads(b)["seq"] for a, b in pairwise(first))


async def test_a_client_resumes_after_any_event_with_nothing_lost_or_doubled(v3: V3, model: Scripted):
    gates = [asyncio.Event() for _ in range(5)]
    model.will(*(step for gate in gates for step in (text("word "), gate)), end())
    session = await v3.create()
    await v3.submit(session, "hi")
    seen: list[str] = []
    for gate in gates:
        after = json.loads(seen[-1])["seq"] if seen else 0
        seen += await until(v3.stream(session, after), "text.delta")
        gate.set()
    last = json.loads(seen[-1])["seq"]
    seen += await until(v3.stream(session, 0, **{"Last-Event-ID": str(last)}), *ENDINGS)
    assert [json.loads(data) for data in seen] == await v3.events(session)
    for data in seen[:-1]:
        after = json.loads(data)["seq"]
        assert await until(v3.socket(session, after), *ENDINGS) == seen[seen.index(data) + 1 :]


async def test_text_is_gathered_into_few_events(v3: V3, model: Scripted):
    model.will(*says(*(f"{n} " for n in range(2000))))
    session = await v3.create()
    await v3.submit(session, "count")
    seen = await v3.settled(session)
    assert sum(kind(data) == "text.delta" for data in seen) < 500
    assert body(seen[-1])["text"] == "".join(f"{n} " for n in range(2000))


async def test_a_long_log_is_replayed_from_its_rows(v3: V3, model: Scripted):
    session = await v3.create()
    for _ in range(120):
        model.will(*says("ok"))
    for n in range(120):
        await v3.submit(session, f"turn {n}")
    seen = await v3.settled(session, turns=120)
    whole = [data for data in seen if kind(data) != "text.delta"]  # all that old turns keep
    replay = await v3.settled(session, turns=120)
    assert replay[-60:] == seen[-60:]
    assert [data for data in replay if kind(data) != "text.delta"] == whole
    middle = json.loads(whole[300])["seq"]
    later = [event for event in await v3.events(session, middle) if event["event"]["type"] != "text.delta"]
    assert later == [json.loads(data) for data in whole[301:]]


async def test_a_socket_says_why_it_closes(v3: V3):
    session = await v3.create()
    huge, later = f"session={session}&after={'9' * 5000}", f"session={session}&after=1"
    bad = (
        ("session=nobody", 4404), ("session=", 4400), ("after=0", 4400),
        ("session=a&after=x", 4400), (huge, 4400), (later, 4400),
        (f"session={session}&afte=1", 4400), (f"session={session}&session={session}", 4400),
    )  # fmt: skip
    for query, code in bad:
        url = f"{v3.role.url.replace('http', 'ws')}/v3/ws?{query}"
        async with websockets.connect(url, additional_headers=v3.role.headers) as socket:
            await socket.wait_closed()
        assert socket.close_code == code
        assert socket.close_reason
