"""The stream: a new row reaches every viewer, at the price of one reading."""

import asyncio
from collections.abc import Callable, Iterator

import httpx
import pytest
from django.db import connection
from django.utils import timezone

from apps.status.live import Reader, frames
from apps.status.models import record
from apps.status.probes import Result, State
from tests.apps.status.polling import nobody, poll
from tests.processes import Role

PING = b": ping\n\n"


def status(sites: Role) -> httpx.Client:
    host = sites.url.replace("http://127.0.0.1", "status.opta.localhost")
    return httpx.Client(base_url=sites.url, headers={"host": host}, timeout=30)


def board(lines: Iterator[str]) -> str:
    """The data of the next board in a stream of lines; a comment before it is passed over."""
    for line in lines:
        if line == "event: board":
            break
    return "\n".join(line.removeprefix("data: ") for line in iter(lambda: next(lines), ""))


def test_a_new_row_reaches_the_page_that_is_open(start_sites: Callable[..., Role]):
    sites = start_sites(**nobody())
    with status(sites) as client:
        shown = client.get("/").text
        assert "No check yet" in shown
        live = shown.partition('data-live="')[2].partition('"')[0]
        with client.stream("GET", live) as response:
            assert response.headers["content-type"] == "text/event-stream"
            lines = response.iter_lines()
            assert next(lines) == ": ping"
            poll(sites)
            heard = board(lines)
    assert "8 of 10 services are online" in heard
    assert "LMX is offline, Daemon is offline." in heard
    assert "nothing listens there: connection refused" in heard


async def measured(found: Result) -> None:
    def write() -> None:
        record([found], timezone.now())
        connection.close()

    await asyncio.to_thread(write)


@pytest.mark.django_db(transaction=True)
async def test_many_viewers_share_one_reading():
    reader = Reader()
    boards = await asyncio.gather(*(reader.next() for _ in range(50)))
    assert all(board is boards[0] for board in boards)


@pytest.mark.django_db(transaction=True)
async def test_a_viewer_who_leaves_does_not_end_the_reading_of_others():
    reader = Reader()
    leaving, staying = (asyncio.create_task(reader.next()) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    assert (await staying).summary.headline == "No check yet"


@pytest.mark.django_db(transaction=True)
async def test_nothing_is_sent_twice_and_a_change_is_sent_at_once():
    reader = Reader()
    stream = frames(reader, "")
    assert await anext(stream) == PING
    await measured(Result("lmx", State.ONLINE, 3))
    first = await anext(stream)
    assert b"1 of 10 services are online" in first
    waiting = asyncio.create_task(anext(stream))
    await reader.next()
    assert not waiting.done()
    await measured(Result("lmx", State.OFFLINE, None, "no answer within 9 s"))
    second = await waiting
    if b"1 of 10 services are online" in second:  # a minute had ended, and with it the hour that is shown
        second = await anext(stream)
    assert second != first and b"0 of 10 services are online" in second
    await stream.aclose()


@pytest.mark.django_db(transaction=True)
async def test_a_stream_ends_after_its_lifetime():
    assert [frame async for frame in frames(Reader(), "", lifetime=0)] == [PING]
