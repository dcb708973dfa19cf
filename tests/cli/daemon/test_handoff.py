"""The daemon makes room for its successor: what runs comes to its end, what waits goes on, nobody is lost."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import websockets

from tests.cli.daemon.conftest import V3, body, kind, lines, streamed, until
from tests.cli.daemon.test_jobs import opened
from tests.processes import Role, free_port
from tests.scripted import Scripted, end, says, text

Start = Callable[..., Role]
Connect = Callable[[Role], V3]


async def streamed_to_the_end(v3: V3, session: str) -> list[tuple[str, dict]]:
    """Every frame of the stream: its name and data."""
    found, name = [], ""
    async with v3.http.stream("GET", f"/v3/sessions/{session}/stream") as response:
        async for line in lines(response):
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                found.append((name, json.loads(line.removeprefix("data: "))))
                name = ""
    return found


async def socket_to_the_end(v3: V3, session: str) -> tuple[list[dict], int]:
    """Every message, and the closing code."""
    found = []
    url = f"{v3.role.url.replace('http', 'ws')}/v3/ws?session={session}"
    async with websockets.connect(url, additional_headers=v3.role.headers) as socket:
        try:
            while True:
                found.append(json.loads(await socket.recv()))
        except websockets.ConnectionClosed as closed:
            assert closed.rcvd
            return found, closed.rcvd.code


async def hand_off(v3: V3, seconds: float) -> None:
    answer = await v3.http.post("/v3/handoff", json={"seconds": seconds})
    assert answer.status_code == 202


def kinds(events: list[dict]) -> list[str]:
    return [event["event"]["type"] for event in events]


async def test_what_runs_comes_to_its_end_and_what_waits_goes_on_in_the_successor(
    start_daemon: Start, connect: Connect, model: Scripted
):
    first = start_daemon(lmx_url=model.url)
    v3, gate = connect(first), asyncio.Event()
    model.will(text("Half"), gate, text(" and half"), end())
    session, other = await v3.create(), await v3.create()
    await v3.submit(session, "a")
    waiting = await v3.submit(session, "b")
    followers = asyncio.gather(streamed_to_the_end(v3, session), socket_to_the_end(v3, session))
    await until(v3.stream(session), "text.delta")
    await hand_off(v3, 60)
    late = await v3.submit(other, "c")  # taken, and begun by nobody here
    gate.set()
    streamed, (told, code) = await followers
    assert await asyncio.to_thread(first.process.wait, 10) == 0

    *facts, (name, last) = streamed
    seq = facts[-1][1]["seq"]
    assert kinds([data for _, data in facts])[-1] == "turn.done"
    assert (name, last["code"], last["seq"]) == ("unsubscribed", "daemon_replaced", seq)
    assert code == 1012
    assert (told[-1]["type"], told[-1]["code"], told[-1]["seq"]) == ("unsubscribed", "daemon_replaced", seq)
    assert len(model.requests) == 1

    model.will(*says("later"))
    model.will(*says("later"))
    v3 = connect(start_daemon(lmx_url=model.url, home=first.home))
    for where, turn, after in ((session, waiting, seq), (other, late, 0)):
        settled = await v3.settled(where, after)
        assert (json.loads(settled[-1])["turn"], kind(settled[-1])) == (turn, "turn.done")


async def test_a_turn_that_outlasts_its_time_is_stopped_with_a_valid_history(
    start_daemon: Start, connect: Connect, model: Scripted
):
    first = start_daemon(lmx_url=model.url)
    v3 = connect(first)
    model.will(text("Half"), asyncio.Event())
    session = await v3.create()
    await v3.submit(session, "a")
    await v3.submit(session, "b")
    await until(v3.stream(session), "text.delta")
    settled = asyncio.create_task(v3.settled(session))
    await hand_off(v3, 600)
    await hand_off(v3, 0.1)  # somebody has become impatient
    ending = body((await settled)[-1])
    assert (ending["type"], ending["code"]) == ("turn.failed", "daemon_replaced")
    assert ending["hint"]
    assert await asyncio.to_thread(first.process.wait, 10) == 0

    model.will(*says("fine"))
    v3 = connect(start_daemon(lmx_url=model.url, home=first.home))
    assert kind((await v3.settled(session, turns=2))[-1]) == "turn.done"
    said = [(m["role"], m["content"]) for m in (await v3.detail(session))["messages"]]
    assert said == [("user", "a"), ("assistant", "Half"), ("user", "b"), ("assistant", "fine")]


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Role]:
    """A daemon as systemd would start it, without a word about its home in the environment."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    words = ["-m", "cli.daemon", "--home", str(tmp_path), "--supervisor", "systemd"]
    role = Role([sys.executable, *words], url, tmp_path, {"OPTA_DAEMON_PORT": str(port)}, tmp_path / "log")
    yield role.start("/v3/health")
    role.kill()


async def test_a_supervised_daemon_asks_by_its_status_to_be_started_anew(supervised: Role, connect: Connect):
    v3 = connect(supervised)
    assert (await v3.http.post("/v3/handoff", json={"seconds": -1})).json()["field"] == "seconds"
    made = await v3.http.post("/v3/access/tokens", json={"name": "a program", "scope": "write"})
    headers = {"Authorization": f"Bearer {made.json()['token']}"}
    assert (await v3.http.post("/v3/handoff", json={}, headers=headers)).json()["code"] == "forbidden"
    await hand_off(v3, 0)
    assert await asyncio.to_thread(supervised.process.wait, 10) == 75
    assert "listens on" in (supervised.home / "daemon" / "daemon.log").read_text()


async def test_a_daemon_that_nobody_wants_ends_and_never_before(v3: V3, model: Scripted):
    role, gate = v3.role, asyncio.Event()
    model.will(text("Slow"), gate, end())
    session = await v3.create()
    await v3.submit(session, "a")
    (role.home / "config.toml").write_text("daemon_idle_minutes = 0.001\n")
    with pytest.raises(subprocess.TimeoutExpired):  # a turn runs
        await asyncio.to_thread(role.process.wait, 0.5)
    url = f"{role.url.replace('http', 'ws')}/v3/ws?session={session}"
    async with websockets.connect(url, additional_headers=role.headers) as socket:
        gate.set()
        while kind(streamed(str(await socket.recv()))) != "turn.done":
            pass
        with pytest.raises(TimeoutError):  # somebody is attached
            await asyncio.wait_for(socket.recv(), 0.5)
    assert await asyncio.to_thread(role.process.wait, 10) == 0
    assert not (role.home / "daemon" / "state.json").exists()


async def test_a_job_goes_on_in_the_successor_and_is_no_idleness(
    start_daemon: Start, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    role = start_daemon(lmx_url="http://127.0.0.1:1")
    jobs = await opened(connect(role), tmp_path, monkeypatch)
    job = await jobs.start("echo one; until test -e go; do sleep 0.02; done; echo two; exit 7")
    await jobs.says(job["id"], "one")
    await hand_off(jobs.v3, 0)
    assert await asyncio.to_thread(role.process.wait, 10) == 0
    role.start("/v3/health")
    jobs.http.headers.update(role.headers)
    assert (await jobs.get(job["id"]))["status"] == "running"
    (role.home / "config.toml").write_text("daemon_idle_minutes = 0.001\n")
    with pytest.raises(subprocess.TimeoutExpired):
        await asyncio.to_thread(role.process.wait, 0.5)
    ended = asyncio.create_task(jobs.ended(job["id"]))
    (tmp_path / "go").touch()
    assert (await ended)["code"] == 7
    assert await asyncio.to_thread(role.process.wait, 10) == 0
