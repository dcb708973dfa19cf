"""A daemon killed at any moment: its sessions open, every call has one result, nothing is done twice.

A killed process leaves its files as they are, and SQLite's write-ahead log grows by one piece for each
thing that was stored. So one life of a real daemon, its log cut where each piece ends, is all the moments
at which it could have been killed. `pytest -m soak` kills one at each event besides; else at one.
"""

import asyncio
import itertools
import json
import shutil
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from django.db.utils import ConnectionHandler

from cli.agent import history
from cli.daemon import models, settle
from cli.protocol.events import DELTAS, ENDINGS, ToolDone, ToolStarted, TurnQueued
from cli.protocol.messages import Message
from tests.cli.daemon.conftest import V3, body, kind, until
from tests.cli.histories import lawful
from tests.processes import Role, free_port
from tests.scripted import Answer, Scripted, Step, call, end, says, scripted, text

ROUNDS = 14
# Of SQLite's file format, section 4: of the log and of each page in it, the header's bytes.
LOG_HEADER, PAGE_HEADER = 32, 24


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Callable[..., Role]]:
    """workshop(lmx_url=…): a daemon whose tools leave marks in its home; the same home each time."""
    started: list[Role] = []

    def start(lmx_url: str, home: Path = tmp_path) -> Role:
        port = free_port()
        env = {"OPTA_HOME": str(home), "OPTA_DAEMON_PORT": str(port), "OPTA_LMX_URL": lmx_url}
        command = [sys.executable, "-m", "tests.cli.daemon.workshop"]
        role = Role(command, f"http://127.0.0.1:{port}", home, env, home / "test.log")
        started.append(role.start("/v3/health"))
        return role

    yield start
    for role in started:
        role.kill()


def wants(*calls: tuple[str, str], say: str = "") -> list[Step]:
    """An answer that calls tools; the server numbers its calls anew in each."""
    asked = (
        call(name, json.dumps({"word": word}), index=place, id=f"call_{place}")
        for place, (name, word) in enumerate(calls)
    )
    return [*([text(say)] if say else []), *asked, end("tool_calls")]


def working(model: Scripted, name: str, rounds: int = ROUNDS) -> None:
    """Script one turn: several rounds of marks and looks, then words."""
    for place in range(rounds):
        say = f"{name}: round {place}. " if place % 2 else ""
        words = [("mark", f"{name}-{place}-a"), ("look", "x"), ("mark", f"{name}-{place}-b")]
        model.will(*wants(*words, say=say))
    model.will(*says(f"{name} ", "is done."))


def marks(home: Path) -> list[str]:
    file = home / "marks"
    return file.read_text().split() if file.exists() else []


def settled_rightly(events: Sequence[models.Event]) -> None:
    """Each turn that began has one end, each call one result, and a lawful history comes of it."""
    parsed = [row.parse() for row in events]
    started = [e.event.call for e in parsed if isinstance(e.event, ToolStarted)]
    done = [e.event.call for e in parsed if isinstance(e.event, ToolDone)]
    assert len(set(started)) == len(started)
    assert sorted(done) == sorted(started)
    ended = [e.turn for e in parsed if isinstance(e.event, ENDINGS)]
    waiting = models.Turn.objects.filter(session_id="s", state="queued").values_list("id", flat=True)
    assert sorted([*ended, *waiting]) == sorted({e.turn for e in parsed})
    assert all(isinstance(e.event, TurnQueued) for e in parsed if e.turn in waiting)
    lawful(history.messages(e for e in parsed if not isinstance(e.event, DELTAS)))


def interrupted(events: Sequence[models.Event], done: Sequence[str]) -> None:
    """A call that may have been done is said to be unknown; one that only reads may be called again."""
    parsed = [row.parse().event for row in events]
    calls = {each.call: each for each in parsed if isinstance(each, ToolStarted)}
    for each in parsed:
        if isinstance(each, ToolDone) and not each.ok:
            assert each.result == (history.UNKNOWN if calls[each.call].mutates else history.REPEATABLE)
        elif isinstance(each, ToolDone) and each.name == "mark":
            assert calls[each.call].arguments["word"] in done


@contextmanager
def database(file: Path) -> Iterator[None]:
    """Meanwhile the models are rows of this file."""
    before = connections["default"]
    options = {"ENGINE": "django.db.backends.sqlite3", "NAME": file}
    connections["default"] = ConnectionHandler({"default": options})["default"]
    try:
        yield
    finally:
        connections["default"].close()
        connections["default"] = before


@contextmanager
def reader(file: Path) -> Iterator[None]:
    """Meanwhile SQLite keeps all of its log, for somebody reads what was there before it."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM daemon_session").fetchone()
        yield


def cuts(log: bytes) -> list[int]:
    """Where each transaction ends in SQLite's write-ahead log."""
    page = int.from_bytes(log[8:12], "big")
    salt, places = log[16:24], []
    for start in range(LOG_HEADER, len(log), PAGE_HEADER + page):
        header = log[start : start + PAGE_HEADER]
        if header[8:16] == salt and any(header[4:8]):  # the size of the database: this page is the last
            places.append(start + PAGE_HEADER + page)
    return places


def rows() -> list[models.Event]:
    return list(models.Event.objects.filter(session_id="s").order_by("seq"))


def check(folder: Path, live: Sequence[str], done: Sequence[str]) -> int:
    """Settle the database of a killed daemon; how many events it had stored."""
    with database(folder / "daemon.sqlite3"):
        stored = rows()
        assert [row.data for row in stored] == list(live[: len(stored)])
        session = models.Session.objects.filter(id="s").first()
        settle.settle()
        after = rows()
        assert [row.data for row in after[: len(stored)]] == [row.data for row in stored]
        assert all(row.seq > session.reserved for row in after[len(stored) :])
        settled_rightly(after)
        interrupted(after, done)
        assert settle.settle() == 0
        assert rows() == after
        return len(stored)


async def life(v3: V3, model: Scripted, home: Path) -> list[str]:
    """A session in which everything happens; the events as a live follower saw them."""
    await v3.create(id="s", cwd=str(home))
    gate = asyncio.Event()
    live = asyncio.create_task(v3.settled("s", turns=5))
    working(model, "first")
    model.will(*wants(("mark", "second-a")))
    model.will(text("Let me"), gate, text(" see."), end())
    model.will(*says("Steered."))
    await v3.submit("s", "first")
    second = await v3.submit("s", "second")
    await until(v3.stream("s"), "turn.done")
    await until(v3.stream("s"), "text.delta", times=ROUNDS // 2 + 2)
    steer = {"text": "and mind this"}
    (await v3.http.post(f"/v3/sessions/s/turns/{second}/steer", json=steer)).raise_for_status()
    gate.set()
    seen = await v3.settled("s", turns=2)
    model.will(*wants(("wait", "long"), say="Half"))
    third, fourth = await v3.submit("s", "third"), await v3.submit("s", "fourth")
    await until(v3.stream("s", json.loads(seen[-1])["seq"]), "tool.started")
    await v3.cancel("s", turn=fourth)
    await v3.cancel("s", turn=third)
    working(model, "fifth")
    await v3.submit("s", "fifth")
    return await live


@pytest.mark.django_db(transaction=True)
async def test_whenever_it_is_killed_what_is_left_is_whole(
    workshop: Callable[..., Role], connect: Callable[[Role], V3], model: Scripted, tmp_path: Path
):
    role = workshop(lmx_url=model.url)
    whole = tmp_path / "daemon" / "daemon.sqlite3"
    with reader(whole):
        live = await life(connect(role), model, tmp_path)
        role.kill()
        log = whole.with_name("daemon.sqlite3-wal").read_bytes()
        shutil.copy(whole, tmp_path / "first")
    done = marks(tmp_path)
    assert len(done) == len(set(done)) == 4 * ROUNDS + 1
    places = cuts(log)
    assert len(places) > 200

    def killed_everywhere() -> list[int]:
        found = []
        for place in [0, *places]:
            folder = tmp_path / "killed"
            folder.mkdir()
            shutil.copy(tmp_path / "first", folder / "daemon.sqlite3")
            # In the middle of writing the next one, too: SQLite sees that it is torn.
            (folder / "daemon.sqlite3-wal").write_bytes(log[: place + 1000])
            found.append(check(folder, live, done))
            shutil.rmtree(folder)
        return found

    stored = await asyncio.to_thread(killed_everywhere)
    assert (stored[0], stored[-1]) == (0, len(live))
    assert stored == sorted(stored)


async def killed_at(
    place: int, start: Callable[..., Role], connect: Callable[[Role], V3], home: Path
) -> bool:
    """Kill a daemon as soon as a follower has seen so many events; whether there were so many."""
    home.mkdir()  # noqa: ASYNC240  # a temporary folder
    async with scripted() as model:
        role = start(lmx_url=model.url, home=home)
        v3 = connect(role)
        working(model, "a", 3)
        await v3.create(id="s", cwd=str(home))
        await v3.submit("s", "go")
        seen = await first(v3.stream("s"), place)
        role.kill()
        done = marks(home)

        model.answers.clear()
        # A turn that had not begun goes on.
        model.improvise = lambda request: Answer(says("ok"))
        v3 = connect(start(lmx_url=model.url, home=home))
        replay = await v3.settled("s")
        known = {json.loads(data)["seq"]: data for data in replay}
        assert all(
            known[json.loads(data)["seq"]] == data for data in seen if not kind(data).endswith(".delta")
        )
        assert all(known.get(json.loads(data)["seq"], data) == data for data in seen)
        announced = [body(data)["arguments"].get("word") for data in replay if kind(data) == "tool.started"]
        assert set(done) <= set(announced)
        model.will(*wants(("mark", "after")))
        await v3.submit("s", "and now?")
        await v3.settled("s", json.loads(replay[-1])["seq"])
        assert marks(home) == [*done, "after"]
        lawful([message_of(each) for each in model.requests[-1]["messages"][1:]])
    return len(seen) == place


async def first(events: AsyncIterator[str], count: int) -> list[str]:
    """So many events, or fewer when the turn ends before."""
    seen = []
    async for data in events:
        seen.append(data)
        if len(seen) == count or kind(data).removeprefix("turn.") in ("done", "failed"):
            break
    return seen


def message_of(said: dict[str, Any]) -> Message:
    """A message of a request, as the loop had it."""
    calls = [
        {"id": each["id"], "name": each["function"]["name"], "arguments": each["function"]["arguments"]}
        for each in said.get("tool_calls", ())
    ]
    return Message.model_validate(
        {"role": said["role"], "content": said["content"], "calls": calls, "call": said.get("tool_call_id")}
    )


@pytest.mark.soak
@pytest.mark.timeout(1200)
async def test_a_daemon_killed_at_an_event_goes_on_and_does_nothing_twice(
    workshop: Callable[..., Role],
    connect: Callable[[Role], V3],
    tmp_path: Path,
    request: pytest.FixtureRequest,
):
    every = request.config.getoption("markexpr") == "soak"
    for place in itertools.count(1) if every else (7,):
        if not await killed_at(place, workshop, connect, tmp_path / str(place)):
            break
    assert place >= 7
