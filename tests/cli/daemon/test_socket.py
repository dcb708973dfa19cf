"""The WebSocket: several sessions on one, every request answered once, and nobody waits for anybody."""

import asyncio
import json
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import pytest
import websockets

from cli.protocol.socket import SocketMessage
from tests.cli.daemon.conftest import ENDINGS, V3, body, kind, streamed
from tests.processes import Role, wait_until
from tests.scripted import Scripted, end, says, text


class Client:
    """A socket of the daemon's: `events` are the texts that came, by session."""

    def __init__(self, socket: websockets.ClientConnection) -> None:
        self.socket = socket
        self.events: dict[str, list[str]] = {}
        self.others: list[dict[str, Any]] = []
        self.count = 0

    async def say(self, type: str, **fields: Any) -> str:
        """Send a request; its id."""
        self.count += 1
        id = f"r{self.count}"
        await self.socket.send(json.dumps({"type": type, "id": id, **fields}))
        return id

    async def hear(self) -> dict[str, Any]:
        """The next message."""
        data = await self.socket.recv()
        SocketMessage.model_validate_json(data)
        message = json.loads(data)
        if message["type"] == "event":
            self.events.setdefault(message["session"], []).append(data)
        else:
            self.others.append(message)
        return message

    async def ask(self, type: str, **fields: Any) -> dict[str, Any]:
        """What a request is answered with."""
        id = await self.say(type, **fields)
        while (message := await self.hear()).get("id") != id:
            pass
        return message

    async def until(self, session: str, *kinds: str, times: int = 1) -> list[str]:
        """All events of a session, once so many of these kinds are among them."""
        while sum(kind(data) in kinds for data in self.events.get(session, [])) < times:
            await self.hear()
        return self.events[session]


@asynccontextmanager
async def dial(v3: V3, query: str = "", **options: Any) -> AsyncIterator[Client]:
    url = f"{v3.role.url.replace('http', 'ws')}/v3/ws{query}"
    async with websockets.connect(url, additional_headers=v3.role.headers, **options) as socket:
        yield Client(socket)


@pytest.fixture
def model(standing_model: Scripted) -> Scripted:
    return standing_model


@pytest.fixture
def v3(standing_v3: V3) -> V3:
    return standing_v3


async def test_several_sessions_share_a_socket(v3: V3, model: Scripted):
    sessions = [await v3.create() for _ in range(3)]
    gate = asyncio.Event()
    for _ in sessions:
        model.will(text("Hel"), gate, text("lo."), end())
    async with dial(v3) as client:
        for session in sessions:
            answer = await client.ask("subscribe", session=session)
            assert answer == {"type": "ack", "id": answer["id"], "body": {"seq": 0}}
        for session in sessions:
            answer = await client.ask(
                "turn.submit", session=session, body={"id": "t1", "text": f"to {session}"}
            )
            assert (answer["body"]["id"], answer["body"]["state"]) == ("t1", "running")
        for session in sessions:
            await client.until(session, "text.delta")
        gate.set()
        for session in sessions:
            seen = await client.until(session, *ENDINGS)
            assert [streamed(data) for data in seen] == await v3.settled(session)


async def test_the_ack_of_subscribe_comes_first_and_says_how_far_the_replay_goes(v3: V3, model: Scripted):
    model.will(*says("ok"))
    session = await v3.create()
    await v3.submit(session, "hi")
    stored = await v3.settled(session)
    async with dial(v3) as client:
        for seen in range(len(stored)):
            after = json.loads(stored[seen])["seq"]
            id = await client.say("subscribe", session=session, after=after)
            message = await client.hear()
            assert (message["id"], message["body"]["seq"]) == (id, json.loads(stored[-1])["seq"])
            client.events.clear()
            if seen + 1 < len(stored):
                events = await client.until(session, *ENDINGS)
                assert [streamed(data) for data in events] == stored[seen + 1 :]
            assert (await client.ask("unsubscribe", session=session))["type"] == "ack"


async def test_nothing_of_a_session_comes_after_the_ack_of_unsubscribe(v3: V3, model: Scripted):
    session, other = await v3.create(), await v3.create()
    model.will(*says(*(f"{n} " for n in range(3000))))
    async with dial(v3) as client:
        await client.ask("subscribe", session=session)
        await client.ask("turn.submit", session=session, body={"text": "count"})
        await client.until(session, "text.delta")
        await client.ask("unsubscribe", session=session)
        seen = len(client.events[session])
        all_of_it = await v3.settled(session)
        await client.ask("ping")
        assert len(client.events[session]) == seen < len(all_of_it)
        last = json.loads(client.events[session][-1])["seq"]
        await client.ask("subscribe", session=session, after=last)
        events = await client.until(session, *ENDINGS)
        assert [streamed(data) for data in events] == all_of_it
        refused = await client.ask("unsubscribe", session=other)
        assert (refused["type"], refused["code"], refused["field"]) == ("error", "not_subscribed", "session")


async def test_requests_of_a_session_are_carried_out_in_order(v3: V3, model: Scripted):
    session = await v3.create()
    async with dial(v3) as client:
        for n in range(30):
            model.will(*says("ok"))
            await client.say("turn.submit", session=session, body={"text": f"turn {n}"})
        await client.say("subscribe", session=session)
        await client.say("unsubscribe", session=session)
        await client.say("subscribe", session=session)
        seen = await v3.settled(session, turns=30)
        texts = [body(data)["text"] for data in seen if kind(data) == "turn.queued"]
        assert texts == [f"turn {n}" for n in range(30)]
        await client.ask("ping")
        assert [other["id"] for other in client.others] == [f"r{n}" for n in range(1, 35)]
        assert {other["type"] for other in client.others[:-1]} == {"ack"}


async def test_a_turn_is_cancelled_over_the_socket(v3: V3, model: Scripted):
    model.will(text("Half"), asyncio.Event())
    session = await v3.create()
    async with dial(v3, f"?session={session}") as client:
        turn = (await client.ask("turn.submit", session=session, body={"text": "go on"}))["body"]["id"]
        await client.until(session, "text.delta")
        assert (await client.ask("turn.cancel", session=session, body={"turn": turn}))["body"] == {
            "turns": [turn]
        }
        assert (await client.ask("turn.cancel", session=session))["body"] == {"turns": []}
        seen = await client.until(session, *ENDINGS)
        assert [kind(data) for data in seen[-2:]] == ["text.done", "turn.cancelled"]


async def test_a_running_turn_is_steered_by_one_client_and_watched_by_another(v3: V3, model: Scripted):
    gate = asyncio.Event()
    model.will(text("One"), gate, end())
    model.will(*says("Two"))
    session = await v3.create()
    async with dial(v3, f"?session={session}") as watching, dial(v3) as steering:
        turn = await v3.submit(session, "go")
        await watching.until(session, "text.delta")
        steer = {"session": session, "turn": turn, "body": {"id": "s1", "text": "in French"}}
        answer = await steering.ask("turn.steer", **steer)
        assert (answer["body"]["id"], answer["body"]["turn"]) == ("s1", turn)
        seen = await watching.until(session, "turn.steered")
        assert (json.loads(seen[-1])["seq"], body(seen[-1])["text"]) == (answer["body"]["seq"], "in French")
        gate.set()
        await watching.until(session, *ENDINGS)
        assert (await steering.ask("turn.steer", **{**steer, "turn": "t9"}))["code"] == "unknown_turn"


async def test_what_was_asked_for_is_done_for_a_client_that_hung_up(v3: V3, model: Scripted):
    session = await v3.create()
    for n in range(5):
        model.will(*says("ok"))
        async with dial(v3) as client:
            await client.say("turn.submit", session=session, body={"text": f"turn {n}"})
    seen = await v3.settled(session, turns=5)
    assert sum(kind(data) == "turn.queued" for data in seen) == 5


REFUSED = [
    ({}, "type"),
    ({"type": "subscribe"}, "session"),
    ({"type": "publish", "session": "s1"}, "type"),
    ({"type": 5}, "type"),
    ({"type": "ping", "colour": "red"}, "colour"),
    ({"type": "subscribe", "session": "../x"}, "session"),
    ({"type": "subscribe", "session": "s1", "after": -1}, "after"),
    ({"type": "subscribe", "session": "s1", "after": "0"}, "after"),
    ({"type": "subscribe", "session": "s1", "after": 10**30}, "after"),
    ({"type": "subscribe", "session": "s1", "after": 1}, "after"),
    ({"type": "turn.submit", "session": "s1"}, "body"),
    ({"type": "turn.submit", "session": "s1", "body": {"text": " "}}, "body.text"),
    ({"type": "turn.submit", "session": "s1", "body": {"text": "hi", "colour": "red"}}, "body.colour"),
    ({"type": "turn.cancel", "session": "s1", "body": {"turn": 5}}, "body.turn"),
    ({"type": "turn.steer", "session": "s1", "turn": "t", "body": {"text": 5}}, "body.text"),
    (
        {"type": "permission.resolve", "session": "s1", "body": {"request": "p", "decision": "?"}},
        "body.decision",
    ),
]


async def test_what_is_no_message_is_refused_by_its_field_and_the_socket_goes_on(v3: V3):
    await v3.create(id="s1")
    async with dial(v3) as client:
        for message, field in REFUSED:
            await client.socket.send(json.dumps({"id": "mine", **message}))
            answer = await client.hear()
            assert (answer["type"], answer["id"], answer["field"]) == ("error", "mine", field), message
            assert answer["code"] == "invalid_request"
        for value in (
            "[]",
            "5",
            "null",
            '"x"',
            '{"type": "ping"}',
            '{"type": "ping", "id": 5}',
            '{"id": ""}',
        ):
            await client.socket.send(value)
            answer = await client.hear()
            assert answer["type"] == "error"
            assert answer.get("id", "") == ""
        assert await client.ask("ping") == {"type": "pong", "id": f"r{client.count}"}


UNKNOWN = [
    ("subscribe", {"session": "nobody"}, "unknown_session"),
    ("turn.submit", {"session": "nobody", "body": {"text": "hi"}}, "unknown_session"),
    ("turn.cancel", {"session": "nobody"}, "unknown_session"),
    ("turn.cancel", {"session": "s1", "body": {"turn": "nothing"}}, "unknown_turn"),
    (
        "permission.resolve",
        {"session": "nobody", "body": {"request": "p", "decision": "allow"}},
        "unknown_session",
    ),
    (
        "permission.resolve",
        {"session": "s1", "body": {"request": "p", "decision": "deny"}},
        "unknown_request",
    ),
    ("subscribe", {"session": "s1"}, "conflict"),
]


async def test_what_cannot_be_done_is_refused_by_a_code(v3: V3):
    await v3.create(id="s1")
    async with dial(v3, "?session=s1") as client:
        for type, fields, code in UNKNOWN:
            answer = await client.ask(type, **fields)
            assert (answer["type"], answer["code"]) == ("error", code)


@pytest.mark.parametrize("garbage", ["hello", "", "{", b'{"type": "ping", "id": "x"}', "[" * 100_000])
async def test_what_is_no_json_closes_the_socket(v3: V3, garbage: str | bytes):
    async with dial(v3) as client:
        await client.socket.send(garbage)
        await client.socket.wait_closed()
    assert (client.socket.close_code, bool(client.socket.close_reason)) == (1003, True)


async def test_a_socket_follows_so_many_sessions_and_no_more(v3: V3):
    async with dial(v3) as client:
        for n in range(64):
            await v3.create(id=f"s{n}")
            assert (await client.ask("subscribe", session=f"s{n}"))["type"] == "ack"
        await v3.create(id="more")
        assert (await client.ask("subscribe", session="more"))["code"] == "too_many_subscriptions"
        await client.ask("unsubscribe", session="s0")
        assert (await client.ask("subscribe", session="more"))["type"] == "ack"


async def test_a_stopping_daemon_says_so_on_every_socket(
    start_daemon: Callable[..., Role], model: Scripted, connect: Callable[[Role], V3]
):
    v3 = connect(start_daemon(lmx_url=model.url))
    session = await v3.create()
    model.will(text("Half"), asyncio.Event())
    async with dial(v3) as idle, dial(v3, f"?session={session}") as client:
        await client.ask("turn.submit", session=session, body={"text": "hi"})
        await client.until(session, "text.delta")
        stopping = asyncio.create_task(asyncio.to_thread(v3.role.stop))
        assert kind((await client.until(session, *ENDINGS))[-1]) == "turn.failed"
        for each in (client, idle):
            await each.socket.wait_closed()
            assert (each.socket.close_code, each.socket.close_reason) == (1001, "The daemon is stopping.")
        assert await stopping == 0


async def test_a_stalled_reader_is_dropped_holds_nobody_up_and_resumes(v3: V3, model: Scripted):
    words = [f"{n:0>8} " * 1000 for n in range(800)]
    model.will(*says(*words))
    session = await v3.create()
    with socket.create_connection(("127.0.0.1", urlsplit(v3.role.url).port)) as narrow:
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        options = {"max_queue": 1, "max_size": None, "ping_interval": None, "compression": None}
        async with dial(v3, sock=narrow, **options) as stalled, dial(v3, max_size=None) as healthy:
            await healthy.ask("subscribe", session=session)
            await stalled.ask("subscribe", session=session)
            await v3.submit(session, "count")
            seen = await healthy.until(session, *ENDINGS)
            assert kind(seen[-1]) == "turn.done"
            dropped = "a client took nothing"
            await asyncio.to_thread(wait_until, lambda: dropped in v3.role.log.read_text(), dropped, 20)
            with pytest.raises(websockets.ConnectionClosed):
                await stalled.until(session, *ENDINGS)
            assert (stalled.socket.close_code, bool(stalled.socket.close_reason)) == (4408, True)
    part = stalled.events[session]
    assert 0 < len(part) < len(seen)
    async with dial(v3, max_size=None) as resumed:
        await resumed.ask("subscribe", session=session, after=json.loads(part[-1])["seq"])
        assert part + await resumed.until(session, *ENDINGS) == seen


async def flicker(v3: V3, session: str, dice: random.Random, saw: Callable[[str], None]) -> list[str]:
    """Follow a session on connections that break off or close anywhere; the events as they came."""
    seen: list[str] = []
    while not seen or kind(seen[-1]) not in ENDINGS:
        after = json.loads(seen[-1])["seq"] if seen else 0
        asked = dice.random() < 0.5
        async with dial(v3, "" if asked else f"?session={session}&after={after}") as client:
            if asked:
                await client.say("subscribe", session=session, after=after)
            with suppress(websockets.ConnectionClosed):
                for _ in range(dice.randrange(12)):
                    message = await client.hear()
                    if message["type"] == "event":
                        saw(message["event"].get("text", ""))
                        if message["event"]["type"] in ENDINGS:
                            break
            if dice.random() < 0.5:
                client.socket.transport.abort()
        seen += client.events.get(session, [])
    return seen


@pytest.mark.parametrize("seed", range(3))
async def test_clients_that_break_off_anywhere_end_with_the_same_bytes(v3: V3, model: Scripted, seed: int):
    gates = {f"{n}.": asyncio.Event() for n in range(25)}
    model.will(*(step for word, gate in gates.items() for step in (text(word), gate)), end())
    session = await v3.create()

    def saw(said: str) -> None:
        """The model goes on as soon as one of the clients has what it said."""
        for word, gate in gates.items():
            if word in said:
                gate.set()

    dices = [random.Random(100 * seed + n) for n in range(6)]
    clients = [asyncio.create_task(flicker(v3, session, dice, saw)) for dice in dices]
    steady = asyncio.create_task(v3.settled(session))
    await v3.submit(session, "count")
    seen = await steady
    for client in clients:
        assert [streamed(data) for data in await client] == seen
    assert sum(kind(data) == "text.delta" for data in seen) == 25
