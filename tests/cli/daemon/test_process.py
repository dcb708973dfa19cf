"""The daemon's process: killed, stopped, started twice, or in a place that is taken."""

import asyncio
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path

import httpx
import psutil
import pytest

from tests.cli.daemon.conftest import ENDINGS, V3, body, kind, until
from tests.processes import ROOT, Role, free_port, wait_until
from tests.scripted import Answer, Scripted, says, text

Start = Callable[..., Role]
Connect = Callable[[Role], V3]


async def test_a_kill_loses_no_fact_and_uses_no_number_twice(
    start_daemon: Start, connect: Connect, model: Scripted
):
    first = start_daemon(lmx_url=model.url)
    v3 = connect(first)
    model.will(*says("kept"))
    session = await v3.create()
    await v3.submit(session, "a")
    kept = await v3.settled(session)
    model.will(text("Half"), asyncio.Event())
    running, queued = await v3.submit(session, "b"), await v3.submit(session, "c")
    seen = await until(v3.stream(session, json.loads(kept[-1])["seq"]), "text.delta")
    first.kill()

    model.will(*says("went on"))
    v3 = connect(start_daemon(lmx_url=model.url, home=first.home))
    settled = await v3.settled(session, turns=3)
    assert settled[: len(kept)] == kept
    facts, stored = ([d for d in each if kind(d) != "text.delta"] for each in (seen, settled[len(kept) :]))
    assert facts == stored[: len(facts)]
    assert [kind(data) for data in facts][:1] == ["turn.queued"]
    known = {json.loads(data)["seq"]: data for data in seen}
    assert all(known.get(json.loads(data)["seq"], data) == data for data in settled)
    ends = {json.loads(d)["turn"]: body(d) for d in settled if kind(d) in ENDINGS}
    assert ends[running]["code"] == "daemon_crashed"
    assert ends[running]["message"] and ends[running]["hint"]
    assert ends[queued]["text"] == "went on"
    assert (await v3.detail(session))["active"] is None

    model.will(*says("fine"))
    await v3.submit(session, "d")
    after = await v3.settled(session, json.loads(settled[-1])["seq"])
    assert kind(after[-1]) == "turn.done"
    numbers = [event["seq"] for event in await v3.events(session)]
    assert all(one < other for one, other in pairwise(numbers))
    roles = [m["role"] for m in model.requests[-1]["messages"][1:]]
    assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"]


async def test_turns_that_waited_when_it_was_killed_run_in_their_order(
    start_daemon: Start, connect: Connect, model: Scripted
):
    first = start_daemon(lmx_url=model.url)
    v3 = connect(first)
    sessions = [await v3.create(), await v3.create()]
    for session in sessions:
        model.will(asyncio.Event())
        await v3.submit(session, "under way")
        await until(v3.stream(session), "turn.started")
    waiting = {session: [await v3.submit(session, word) for word in "abc"] for session in sessions}
    await v3.cancel(sessions[0], turn=waiting[sessions[0]].pop(1))
    first.kill()

    model.requests.clear()
    model.improvise = lambda request: Answer(says(f"to {request['messages'][-1]['content']}"))
    v3 = connect(start_daemon(lmx_url=model.url, home=first.home))
    for session, turns in waiting.items():
        seen = await v3.settled(session, turns=4)
        done = [json.loads(data) for data in seen if kind(data) == "turn.done"]
        assert [event["turn"] for event in done] == turns
    assert len(model.requests) == 5
    told = [[m["content"] for m in request["messages"][1:]] for request in model.requests]
    assert max(told, key=len) == ["a", "to a", "b", "to b", "c"]


async def test_text_older_than_a_second_outlives_a_kill(
    start_daemon: Start, connect: Connect, model: Scripted
):
    first = start_daemon(lmx_url=model.url)
    v3 = connect(first)
    model.will(text("Half an answer"), asyncio.Event())
    session = await v3.create()
    await v3.submit(session, "a")
    await until(v3.stream(session), "text.delta")
    rows = first.home / "daemon" / "daemon.sqlite3-wal"
    wait_until(lambda: b"Half an answer" in rows.read_bytes(), "the text to be a row", 1.5)
    first.kill()
    v3 = connect(start_daemon(lmx_url=model.url, home=first.home))
    assert [m["content"] for m in (await v3.detail(session))["messages"]] == ["a", "Half an answer"]


async def test_kills_at_any_moment_leave_a_valid_session(
    start_daemon: Start, connect: Connect, model: Scripted
):
    """Each life sees text under numbers; none of them may come back as something else."""
    home, known = None, {}
    for life in range(4):
        role = start_daemon(lmx_url=model.url, **({"home": home} if home else {}))
        home = role.home
        v3 = connect(role)
        session = await v3.create(id="s")
        for event in await v3.events(session):
            assert known.setdefault(event["seq"], event) == event
        model.will(*(text(f"{life}.{n} ") for n in range(life * 40 + 1)), asyncio.Event())
        turn = await v3.submit(session, f"life {life}")
        async for data in v3.stream(session):
            event = json.loads(data)
            assert known.setdefault(event["seq"], event) == event
            if event["turn"] == turn and f"{life}.{life * 40}" in body(data).get("text", ""):
                break
        role.kill()
    v3 = connect(start_daemon(lmx_url=model.url, home=home))
    events = await v3.events("s")
    assert all(known.setdefault(event["seq"], event) == event for event in events)
    assert sum(event["event"]["type"] == "turn.failed" for event in events) == 4


async def test_a_stop_ends_turns_and_streams_within_seconds(
    start_daemon: Start, connect: Connect, model: Scripted
):
    role = start_daemon(lmx_url=model.url)
    v3 = connect(role)
    model.will(text("Half"), asyncio.Event())
    session = await v3.create()
    await v3.submit(session, "a")
    await v3.submit(session, "b")
    attached = [asyncio.Event(), asyncio.Event()]
    streams = zip((v3.stream(session), v3.socket(session)), attached, strict=True)
    followers = [asyncio.create_task(collect(stream, event)) for stream, event in streams]
    for event in attached:
        await event.wait()
    role.process.send_signal(signal.SIGTERM)
    streamed, _ = await asyncio.gather(*followers)
    assert await asyncio.to_thread(role.process.wait, 5) == 0
    assert [(kind(d), body(d).get("code")) for d in streamed if kind(d) in ENDINGS] == [
        ("turn.failed", "daemon_stopped"),
        ("turn.failed", "daemon_stopped"),
    ]
    assert {file.name for file in (role.home / "daemon").iterdir()} == {"daemon.sqlite3", "jobs", "lock"}
    await asyncio.wait_for(model.hung_up.wait(), 5)

    v3 = connect(start_daemon(lmx_url=model.url, home=role.home))
    assert [json.dumps(event) for event in await v3.events(session)] == [
        json.dumps(json.loads(data)) for data in streamed
    ]
    assert [m["content"] for m in (await v3.detail(session))["messages"]] == ["a", "Half"]


async def collect(events: AsyncIterator[str], attached: asyncio.Event) -> list[str]:
    """Everything until the stream ends; `attached` once the turn talks."""
    seen = []
    async for data in events:
        seen.append(data)
        if kind(data) == "text.delta":
            attached.set()
    return seen


def spawn(home: Path, port: int, lmx_url: str = "http://127.0.0.1:1") -> "subprocess.Popen[str]":
    env = {"OPTA_HOME": str(home), "OPTA_DAEMON_PORT": str(port), "OPTA_LMX_URL": lmx_url}
    command = [sys.executable, "-m", "cli.daemon"]
    return subprocess.Popen(command, env={**os.environ, **env}, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def test_of_starts_at_once_one_daemon_stays(tmp_path: Path):
    port = free_port()
    started = [spawn(tmp_path, port) for _ in range(4)]
    try:
        wait_until(lambda: sum(p.poll() is not None for p in started) == 3, "three of four to give way")
        (winner,) = (p for p in started if p.poll() is None)
        state = tmp_path / "daemon" / "state.json"
        wait_until(state.exists, "the daemon's state")
        assert json.loads(state.read_text())["pid"] == winner.pid
        assert httpx.get(f"http://127.0.0.1:{port}/v3/health").json()["pid"] == winner.pid
        for loser in set(started) - {winner}:
            assert loser.returncode == 0
            assert f"pid {winner.pid}" in loser.stderr.read()
    finally:
        for process in started:
            process.terminate()
            process.communicate()


def test_a_stranger_on_the_port_sends_the_daemon_to_a_spare_one(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        process = spawn(tmp_path, port)
        state = tmp_path / "daemon" / "state.json"
        wait_until(lambda: state.exists() or process.poll() is not None, "the daemon's state")
        found = json.loads(state.read_text())
        assert 10000 <= found["port"] <= 10020
        assert httpx.get(f"http://127.0.0.1:{found['port']}/v3/health").json()["pid"] == process.pid
        process.terminate()
        assert f"port {port} is held by another program" in process.communicate()[1]


def test_files_of_a_dead_daemon_are_in_nobodys_way(start_daemon: Start):
    first = start_daemon(lmx_url="http://127.0.0.1:1")
    token = first.token
    first.kill()
    assert first.token == token
    second = start_daemon(lmx_url="http://127.0.0.1:1", home=first.home)
    assert second.token != token
    assert json.loads((second.home / "daemon" / "state.json").read_text())["pid"] == second.pid
    assert httpx.get(f"{second.url}/v3/sessions", headers=second.headers).status_code == 200


def test_a_client_that_asks_after_the_lock_keeps_no_daemon_from_starting(tmp_path: Path):
    (tmp_path / "daemon").mkdir(mode=0o700)
    with (tmp_path / "daemon" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        process = spawn(tmp_path, free_port())
        wait_until(lambda: opened(process.pid, lock.name), "the daemon to want the lock")
    wait_until((tmp_path / "daemon" / "state.json").exists, "the daemon's state")
    process.terminate()
    process.communicate()


def opened(pid: int, file: str) -> bool:
    return any(Path(found.path) == Path(file) for found in psutil.Process(pid).open_files())


def test_a_database_that_breaks_is_said_and_ends_nothing(start_daemon: Start):
    role = start_daemon(lmx_url="http://127.0.0.1:9")
    file = role.home / "daemon" / "daemon.sqlite3"
    for each in (file, file.with_name(f"{file.name}-wal")):
        each.write_bytes(b"no database" * 10_000)
    answer = httpx.get(f"{role.url}/v3/sessions", headers=role.headers)
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_failed")
    assert "database" in answer.json()["detail"]
    assert httpx.get(f"{role.url}/v3/health").status_code == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_daemon_ends_at_once(start_daemon: Start, number: signal.Signals):
    role = start_daemon(lmx_url="http://127.0.0.1:1")
    role.process.send_signal(number)
    assert role.process.wait(3) == 0
    assert not (role.home / "daemon" / "token").exists()


def test_a_wrong_configuration_is_named_and_nothing_starts(tmp_path: Path):
    (tmp_path / "config.toml").write_text("daemon_port = 0\n")
    process = spawn(tmp_path, 0)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "OPTA_DAEMON_PORT" in said
