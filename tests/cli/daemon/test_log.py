"""A session's log by itself: what it forgets, what it keeps, and what a full disk is called."""

import asyncio
import gc
from collections.abc import AsyncIterator
from datetime import date
from random import Random

import pytest
from django.db import OperationalError

from cli.daemon.database import Database, refusal
from cli.daemon.errors import UnknownSession
from cli.daemon.log import PAGE, RECENT, Logs
from cli.daemon.models import Session
from cli.daemon.past import Past
from cli.protocol.events import (
    ReasoningDelta,
    SessionUpdated,
    TextDelta,
    TextDone,
    TurnDone,
    TurnProgress,
    TurnQueued,
    TurnStarted,
    Usage,
)

pytestmark = pytest.mark.django_db(transaction=True)
DONE = TurnDone(text="", finish_reason="stop", usage=Usage(), seconds=0)


@pytest.fixture
async def logs() -> AsyncIterator[Logs]:
    database = Database()
    await database(Session.objects.create, id="s", model="auto", cwd="/", system="")
    yield Logs(database)
    await asyncio.to_thread(database.close)


def forget(logs: Logs) -> None:
    """Open as many others as are kept though nobody holds them."""
    for number in range(RECENT):
        logs.of(f"other {number}")
    gc.collect()


async def test_a_log_that_nobody_holds_is_forgotten_and_goes_on_after_its_last_number(logs: Logs):
    assert (await logs.of("s").append("t", TurnStarted(model="m"))).seq == 1
    assert (await logs.of("s").append("t", DONE)).seq == 2
    forget(logs)
    assert "s" not in logs.open
    assert (await logs.of("s").append("t", DONE)).seq > 2


async def test_numbers_are_dense_where_nothing_was_lost(logs: Logs):
    log = logs.of("s")
    for body in (TurnStarted(model="m"), TextDone(text="a"), DONE):
        await log.append("t", body)
    del log
    forget(logs)
    assert (await logs.of("s").append("u", TurnStarted(model="m"))).seq == 4


async def test_who_holds_the_log_of_a_deleted_session_writes_into_no_other_of_its_name(logs: Logs):
    log = logs.of("s")
    await log.append("t", TurnStarted(model="m"))
    await logs.database(Session.objects.filter(id="s").delete)
    logs.drop("s")
    await logs.database(Session.objects.create, id="s", model="auto", cwd="/", system="")
    with pytest.raises(UnknownSession):
        await log.append("t", DONE)
    assert (await logs.of("s").append("t", DONE)).seq == 1


async def test_text_written_before_a_fact_comes_before_it(logs: Logs):
    log = logs.of("s")
    await log.append("t", TurnStarted(model="m"))
    log.write(TextDelta(text="a"))
    log.write(TextDelta(text="b"))
    await log.append("t", TextDone(text="ab"))
    shown = [event.event for event in await log.newer(0)]
    assert shown == [TurnStarted(model="m"), TextDelta(text="ab"), TextDone(text="ab")]


async def test_pieces_of_a_kind_are_gathered_and_of_how_far_a_prompt_is_read_the_latest(logs: Logs):
    log = logs.of("s")
    await log.append("t", TurnStarted(model="m"))
    for done in (256, 512):
        log.write(TurnProgress(done=done, total=512))
    for word in ("let ", "me ", "see"):
        log.write(ReasoningDelta(text=word))
    log.write(TextDelta(text="4"))
    await log.append("t", TextDone(text="4"))
    shown = await log.newer(0)
    assert [event.event for event in shown] == [
        TurnStarted(model="m"),
        TurnProgress(done=512, total=512),
        ReasoningDelta(text="let me see"),
        TextDelta(text="4"),
        TextDone(text="4"),
    ]
    assert [event.seq for event in shown] == [1, 2, 3, 4, 5]
    del log
    forget(logs)
    again = await logs.of("s").newer(0)
    assert [(event.as_json, event.event) for event in again] == [(e.as_json, e.event) for e in shown]


async def test_a_change_that_fails_keeps_its_fact_from_happening(logs: Logs):
    log = logs.of("s")

    def refuse(event: object) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await log.append("t", DONE, refuse)
    assert await log.newer(0) == []
    assert (await log.append("t", DONE)).seq == 1


@pytest.mark.parametrize("seed", range(6))
async def test_what_memory_has_of_a_session_is_what_its_rows_say(logs: Logs, seed: int):
    dice, log, compared = Random(seed), logs.of("s"), 0

    def plan(event: object) -> None:
        Session.objects.filter(id="s").update(mode="plan")

    def refuse(*events: object) -> None:
        Session.objects.filter(id="s").update(mode="none")
        raise ValueError("no")

    for number in range(40):
        turn = f"t{number // 4}"
        match dice.choice(["turn", "words", "words", "pieces", "mode", "refused"]):
            case "turn":
                opening = [TurnQueued(text=f"{number}"), TurnStarted(model="m")]
                await log.begin(turn, lambda _, opening=opening: opening, lambda *_: None)
            case "words":
                await log.append(turn, TextDone(text=f"{number}"))
            case "pieces":
                log.write(TextDelta(text=f"{number}"))
            case "mode":
                await log.append("", SessionUpdated(mode="plan"), plan)
            case "refused":
                with pytest.raises(ValueError, match="no"):
                    await log.begin(turn, lambda _: [TurnQueued(text="no")], refuse)
        if kept := log.past:
            read = await logs.database(Past.read, "s")
            assert [event.as_json for event in kept.facts] == [event.as_json for event in read.facts]
            assert (kept.turns, kept.newest, kept.session.mode) == (
                read.turns,
                read.newest,
                read.session.mode,
            )
            assert kept.conversation("go", date.today()) == read.conversation("go", date.today())
            compared += 1
    assert compared > 5


async def test_memory_holds_the_end_of_a_long_log_and_followers_get_all_of_it(logs: Logs):
    log = logs.of("s")
    await log.append("t", TurnStarted(model="m"))
    facts = [log.append("t", TextDone(text=f"{n}")) for n in range(3 * PAGE)]
    await asyncio.gather(*facts)
    assert len(log.tail) <= 2 * PAGE
    log.close()
    seen = [event async for event in log.follow(0)]
    assert [event.event.text for event in seen[1:]] == [f"{n}" for n in range(3 * PAGE)]
    assert [event.seq for event in seen] == list(range(1, 3 * PAGE + 2))


@pytest.mark.parametrize(
    ("said", "status"),
    [("database or disk is full", 507), ("disk I/O error", 503), ("database is locked", 503)],
)
def test_a_full_disk_is_called_by_its_name(said: str, status: int):
    assert refusal(OperationalError(said)).status == status
