"""What a client asked for before it hung up."""

import asyncio
import sqlite3
from contextlib import closing
from urllib.parse import urlsplit

from tests.cli.daemon.conftest import V3


async def hang_up(v3: V3, request: str) -> None:
    """Send a request, and close the connection before there can be an answer."""
    url = urlsplit(v3.role.url)
    _, writer = await asyncio.open_connection(url.hostname, url.port)
    key = v3.role.headers["Authorization"]
    writer.write(f"{request} HTTP/1.1\r\nHost: {url.netloc}\r\nAuthorization: {key}\r\n\r\n".encode())
    await writer.drain()
    writer.close()
    for _ in range(3):  # the daemon answers these when it has seen that
        (await v3.http.get("/v3/health")).raise_for_status()


async def test_a_request_is_carried_out_to_its_end(standing_v3: V3):
    v3, session = standing_v3, await standing_v3.create()

    async def follow() -> list[str]:
        return [data async for data in v3.stream(session)]

    follower = asyncio.create_task(follow())
    database = v3.role.home / "daemon" / "daemon.sqlite3"
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        await hang_up(v3, f"DELETE /v3/sessions/{session}")
    # Its rows went, and so whoever follows it is told.
    assert await asyncio.wait_for(follower, 10) == []
    assert (await v3.http.get(f"/v3/sessions/{session}")).status_code == 404


async def test_a_refusal_that_nobody_hears_is_no_news(standing_v3: V3):
    database = standing_v3.role.home / "daemon" / "daemon.sqlite3"
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        await hang_up(standing_v3, "DELETE /v3/sessions/nobody")
    (await standing_v3.http.get("/v3/sessions")).raise_for_status()  # behind it in the database's queue
    assert "nobody" not in standing_v3.role.log.read_text()
