"""Probes against real servers on this machine: good, failing, slow, refusing, strange and endless ones."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from apps.status.probes import BODY_LIMIT, Result, State, probe_all
from apps.status.registry import Service, services
from opta.urls import SITES
from tests.processes import free_port

Answer = Callable[[str, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[str]:
    """A server that gives each request's head to `answer`; the value is its address."""
    talks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.add(asyncio.current_task())
        try:
            await answer((await reader.readuntil(b"\r\n\r\n")).decode(), writer)
        except ConnectionError:
            pass  # the probe hung up, as some of these tests want
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in talks:
            task.cancel()
        await asyncio.gather(*talks, return_exceptions=True)


def http(body: object, status: str = "200 OK", headers: str = "") -> bytes:
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    return f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(payload)}\r\n\r\n".encode() + payload


def saying(answer: bytes) -> Answer:
    async def say(head: str, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    return say


GOOD = {"status": "ok", "service": "thing", "checks": {"database": "ok"}}


async def probed(answer: Answer, *, timeout: float = 5, **fields: str) -> Result:
    async with serving(answer) as url:
        if path := fields.pop("ready", ""):
            fields["ready_url"] = url + path
        thing = Service("thing", "Thing", "", f"{url}/health", "thing", **fields)
        return (await probe_all([thing], timeout=timeout))[0]


async def test_a_good_answer_is_online_with_its_latency():
    found = await probed(saying(http(GOOD)))
    assert (found.service, found.state, found.reason) == ("thing", State.ONLINE, "")
    assert found.latency_ms is not None
    assert 0 <= found.latency_ms < 2000


async def test_a_failing_check_is_degraded_and_named():
    report = {
        "status": "failing",
        "service": "thing",
        "checks": {"database": "OperationalError", "disk": "ok"},
    }
    found = await probed(saying(http(report, "503 Service Unavailable")))
    assert (found.state, found.reason) == (State.DEGRADED, "failing check: database")


async def test_a_report_that_is_not_ok_is_degraded_even_with_200():
    found = await probed(saying(http({"status": "starting", "service": "thing"})))
    assert (found.state, found.reason) == (State.DEGRADED, "it reports 'starting'")


async def test_a_slow_answer_is_degraded_and_says_how_slow():
    async def slow(head: str, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(2.1)  # what is measured here is time itself
        writer.write(http(GOOD))

    found = await probed(slow)
    assert found.state == State.DEGRADED
    assert found.reason.startswith("slow: it took 2.")
    assert found.latency_ms >= 2100


async def test_no_answer_is_offline_within_the_timeout():
    async def silent(head: str, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    found = await probed(silent, timeout=0.3)
    assert found == Result("thing", State.OFFLINE, None, "no answer within 0.3 s")


async def test_the_timeout_is_for_the_whole_answer_not_for_each_byte():
    async def trickle(head: str, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.02)

    assert (await probed(trickle, timeout=0.3)).reason == "no answer within 0.3 s"


async def test_a_refused_connection_is_offline():
    nobody = Service("thing", "Thing", "", f"http://127.0.0.1:{free_port()}/", "thing")
    assert (await probe_all([nobody]))[0].reason == "nothing listens there: connection refused"


async def test_a_name_that_does_not_resolve_is_offline():
    nowhere = Service("thing", "Thing", "", "http://nowhere.invalid/", "thing")
    assert (await probe_all([nowhere]))[0].reason == "its name does not resolve"


async def test_plain_http_where_tls_is_wanted_is_offline():
    async with serving(saying(http(GOOD))) as url:
        thing = Service("thing", "Thing", "", url.replace("http://", "https://"), "thing")
        found = (await probe_all([thing], timeout=3))[0]
    assert (found.state, found.reason) == (State.OFFLINE, "no connection in time")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (http(b"<html>hello</html>"), "HTTP 200 without a health report"),
        (http(b"Bad Gateway", "502 Bad Gateway"), "HTTP 502 without a health report"),
        (http({"detail": "Not Found"}, "404 Not Found"), "HTTP 404 without a health report"),
        (http(GOOD, "404 Not Found"), "HTTP 404 where its health report should be"),
        (
            http({**GOOD, "service": "other"}),
            "another program answers there: its health report has another name",
        ),
        (http(b"", "302 Found", "Location: http://127.0.0.1:1/\r\n"), "HTTP 302 without a health report"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "another program answers there, or it hung up: that was not HTTP"),
        (b"", "another program answers there, or it hung up: that was not HTTP"),
    ],
)
async def test_the_wrong_service_is_offline(answer: bytes, reason: str):
    found = await probed(saying(answer))
    assert (found.state, found.reason, found.latency_ms) == (State.OFFLINE, reason, None)


async def test_a_huge_body_is_not_read_to_its_end():
    sent = 0

    async def flood(head: str, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * BODY_LIMIT)
            await writer.drain()
            sent += BODY_LIMIT

    found = await probed(flood)
    assert found.reason == "another program answers there: more than 64 KB"
    assert sent < 1000 * BODY_LIMIT


async def test_a_small_answer_may_not_unpack_into_a_large_one():
    found = await probed(saying(http(b"\x1f\x8b not for us", headers="Content-Encoding: gzip\r\n")))
    assert found.reason == "HTTP 200 without a health report"


async def test_up_but_not_ready_is_degraded():
    async def answer(head: str, writer: asyncio.StreamWriter) -> None:
        ready = head.startswith("GET /readyz")
        writer.write(http({}, "503 Service Unavailable") if ready else http(GOOD))
        await writer.drain()

    found = await probed(answer, ready="/readyz")
    assert (found.state, found.reason) == (State.DEGRADED, "it is up, but not ready to take work")


async def test_the_host_header_names_the_site():
    heads: list[str] = []

    async def listen(head: str, writer: asyncio.StreamWriter) -> None:
        heads.append(head)
        writer.write(http(GOOD))

    await probed(listen, host="status.opta.localhost:8000")
    assert "Host: status.opta.localhost:8000\r\n" in heads[0]


async def test_all_are_asked_at_once():
    together = asyncio.Barrier(10)

    async def answer(head: str, writer: asyncio.StreamWriter) -> None:
        await together.wait()  # passes only when ten requests wait here
        writer.write(http(GOOD))
        await writer.drain()

    async with serving(answer) as url:
        found = await probe_all([Service(f"thing-{n}", "", "", url, "thing") for n in range(10)], timeout=5)
    assert [(one.service, one.state) for one in found] == [(f"thing-{n}", State.ONLINE) for n in range(10)]


def test_the_registry_names_lmx_the_daemon_and_every_site_once():
    slugs = [service.slug for service in services()]
    assert slugs[:2] == ["lmx", "daemon"]
    assert len(slugs) == len(set(slugs)) == 2 + len(SITES)


def test_in_production_sites_are_asked_at_their_own_address(settings):
    settings.LOCAL, settings.DOMAIN = False, "optalocal.com"
    found = {service.slug: service for service in services()}
    assert found["status"].url == "https://status.optalocal.com/api/health"
    assert found["home"].url == "https://optalocal.com/api/health"
    assert found["status"].host == ""
