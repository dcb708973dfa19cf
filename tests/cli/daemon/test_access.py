"""Tokens of other programs, browsers, limits: what each may do, how it ends, and what is kept of it."""

import asyncio
import json
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import websockets
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.config import ConfigError
from cli.daemon.access.browsers import BadCode, Browsers
from cli.daemon.access.connections import Connection, Connections
from cli.daemon.access.keys import FAILURES, WRITES, Keys
from cli.daemon.access.limits import Buckets
from cli.daemon.access.tokens import Caller, Tokens, UnknownToken
from cli.daemon.auth import Border, admit
from cli.daemon.errors import StorageFailed
from cli.daemon.lifetime import Lifetime
from cli.protocol import state
from cli.protocol.access import TokenCreate
from opta.errors import Refusal
from tests import processes
from tests.processes import Role, free_port


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Role]:
    role = processes.daemon(tmp_path_factory.mktemp("opta"), f"http://127.0.0.1:{free_port()}")
    httpx.post(f"{role.url}/v3/sessions", json={"id": "s1"}, headers=role.headers).raise_for_status()
    yield role
    role.stop()


@pytest.fixture
def http(daemon: Role) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=daemon.url, headers=daemon.headers, timeout=30) as client:
        yield client


def make(http: httpx.Client, scope: str, **fields: Any) -> dict[str, Any]:
    body = {"name": "a program", "scope": scope, **fields}
    return http.post("/v3/access/tokens", json=body).raise_for_status().json()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def browser(daemon: Role, http: httpx.Client) -> Iterator[httpx.Client]:
    """A browser that was let in by a code, as its own page sends."""
    code = http.post("/v3/access/codes", json={"scope": "write"}).raise_for_status().json()["code"]
    with httpx.Client(base_url=daemon.url, headers={"Origin": daemon.url}) as client:
        client.post("/v3/access/browser", json={"code": code}).raise_for_status()
        yield client


def cookies(browser: httpx.Client) -> dict[str, str]:
    """The header that a browser sends, for another client to try."""
    return {"Cookie": "; ".join(f"{each.name}={each.value}" for each in browser.cookies.jar)}


def test_a_token_does_what_its_scope_says(http: httpx.Client, daemon: Role):
    reader, writer = (bearer(make(http, scope)["token"]) for scope in ("read", "write"))
    with httpx.Client(base_url=daemon.url) as anyone:
        assert anyone.get("/v3/sessions", headers=reader).status_code == 200
        assert anyone.get("/v3/access", headers=reader).json()["scope"] == "read"
        assert anyone.post("/v3/sessions", json={}, headers=reader).json()["code"] == "forbidden"
        assert anyone.post("/v3/sessions", json={}, headers=writer).status_code == 201
        assert anyone.get("/v3/access/tokens", headers=writer).status_code == 403


async def test_a_reader_follows_over_the_websocket_and_submits_nothing(http: httpx.Client, daemon: Role):
    url = f"{daemon.url.replace('http', 'ws')}/v3/ws"
    reader = bearer(make(http, "read")["token"])
    async with websockets.connect(url, additional_headers=reader) as socket:
        await socket.send(json.dumps({"id": "1", "type": "subscribe", "session": "s1"}))
        assert json.loads(await socket.recv())["type"] == "ack"
        for order in (
            {"type": "turn.submit", "body": {"text": "hi"}},
            {"type": "turn.cancel"},
            {"type": "turn.steer", "turn": "t", "body": {"text": "hi"}},
        ):
            await socket.send(json.dumps({"id": "2", "session": "s1", **order}))
            answer = json.loads(await socket.recv())
            assert (answer["type"], answer["code"]) == ("error", "forbidden")
        await socket.send(json.dumps({"id": "3", "type": "ping"}))
        assert json.loads(await socket.recv())["type"] == "pong"


async def test_what_a_token_has_open_ends_when_it_is_revoked(http: httpx.Client, daemon: Role):
    made = make(http, "read")
    url = f"{daemon.url.replace('http', 'ws')}/v3/ws?session=s1"
    async with (
        websockets.connect(url, additional_headers=bearer(made["token"])) as socket,
        httpx.AsyncClient(base_url=daemon.url, headers=bearer(made["token"]), timeout=20) as client,
        client.stream("GET", "/v3/sessions/s1/stream") as stream,
    ):
        assert stream.status_code == 200
        revoked = await client.delete(f"/v3/access/tokens/{made['id']}", headers=daemon.headers)
        assert revoked.status_code == 204
        assert [line async for line in stream.aiter_lines() if line.startswith("data:")] == []
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd.code == 4401
        assert (await client.get("/v3/sessions")).status_code == 401
        again = await client.delete(f"/v3/access/tokens/{made['id']}", headers=daemon.headers)
        assert again.json()["code"] == "unknown_token"


def test_tokens_outlive_the_daemon_and_only_their_hashes_are_kept(start_daemon: Callable[..., Role]):
    first = start_daemon(lmx_url=f"http://127.0.0.1:{free_port()}")
    with httpx.Client(base_url=first.url, headers=first.headers) as http:
        token = make(http, "read", expires_in=3600)["token"]
    first.stop()
    again = start_daemon(lmx_url=f"http://127.0.0.1:{free_port()}", home=first.home)
    assert httpx.get(f"{again.url}/v3/sessions", headers=bearer(token)).status_code == 200
    kept = [file for file in (again.home / "daemon").iterdir() if file.is_file()]
    assert stat.S_IMODE((again.home / "daemon" / "tokens.json").stat().st_mode) == 0o600
    assert not [file for file in kept if token.encode() in file.read_bytes()]
    assert not [file for file in kept if file.name != "token" and again.token.encode() in file.read_bytes()]
    assert again.token not in again.log.read_text() + " ".join(again.command)


def test_a_browser_comes_in_by_a_code_that_is_good_once(daemon: Role, http: httpx.Client):
    code = http.post("/v3/access/codes", json={"scope": "read"}).json()
    assert (code["path"], code["expires_in"]) == ("/v3/access/open", 60)
    bring = {"url": f"{daemon.url}/v3/access/browser", "json": {"code": code["code"]}}
    for page in ({}, {"Origin": "http://localhost:3000"}, {"Sec-Fetch-Site": "same-site"}):
        assert httpx.post(**bring, headers=page).json()["code"] == "foreign_origin"
    came = httpx.post(**bring, headers={"Sec-Fetch-Site": "same-origin"})
    assert came.json()["scope"] == "read"
    flags = {part.strip().lower() for part in came.headers["set-cookie"].split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/v3"} <= flags
    assert not [flag for flag in flags if flag.startswith("domain")]
    assert code["code"] not in came.headers["set-cookie"]
    again = httpx.post(**bring, headers={"Sec-Fetch-Site": "same-origin"})
    assert (again.status_code, again.json()["code"]) == (401, "bad_code")


def test_a_browser_works_and_signs_out(browser: httpx.Client, daemon: Role):
    assert browser.get("/v3/access").json()["name"] == "browser"
    assert browser.post("/v3/sessions", json={}).status_code == 201
    assert browser.get("/v3/access/tokens").status_code == 403
    del browser.headers["Origin"]
    sites = {"same-origin": 200, "none": 200, "same-site": 403, "cross-site": 403}
    for site, status in sites.items():
        assert browser.get("/v3/sessions", headers={"Sec-Fetch-Site": site}).status_code == status
    browser.headers["Origin"] = daemon.url
    cookie = cookies(browser)
    assert httpx.get(f"{daemon.url}/v3/access", headers=cookie).status_code == 200
    assert browser.delete("/v3/access/browser").status_code == 204
    assert not list(browser.cookies.jar)
    assert httpx.get(f"{daemon.url}/v3/access", headers=cookie).status_code == 401


async def test_a_browsers_websocket_is_the_daemons_own_pages_alone(browser: httpx.Client, daemon: Role):
    url = f"{daemon.url.replace('http', 'ws')}/v3/ws"
    cookie = cookies(browser)
    async with websockets.connect(url, origin=daemon.url, additional_headers=cookie) as socket:
        await socket.send(json.dumps({"id": "1", "type": "ping"}))
        assert json.loads(await socket.recv())["type"] == "pong"
    for origin in ("http://localhost:3000", None):
        with pytest.raises(websockets.InvalidStatus):
            await websockets.connect(url, origin=origin, additional_headers=cookie)


def test_the_page_a_browser_gets_in_by_is_open_and_runs_nothing_of_others(daemon: Role):
    answer = httpx.get(f"{daemon.url}/v3/access/open")
    policy = answer.headers["content-security-policy"]
    assert answer.status_code == 200
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["cache-control"] == "no-store"


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def test_a_token_ends_at_its_time(tmp_path: Path):
    clock = Clock()
    tokens = Tokens(tmp_path / "tokens.json", clock)
    made = tokens.create(TokenCreate(name="a", scope="read", expires_in=60))
    clock.now += timedelta(seconds=59)
    assert tokens.caller(made.token).id == made.id
    clock.now += timedelta(seconds=1)
    assert (tokens.caller(made.token), tokens.listed().tokens) == (None, [])


async def test_what_is_open_ends_at_the_time_of_its_token():
    caller = Caller("a", "a", "read", datetime.now(UTC) + timedelta(milliseconds=20))
    connections, sent, came = Connections(), [], []

    async def nothing() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    async def keep(message: Any) -> None:
        sent.append(message)

    async def follow(receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        came.append(await receive())

    async with asyncio.timeout(10):
        await connections.run(caller, Connection("websocket", nothing, keep), follow)
    assert [message["type"] for message in came] == ["websocket.disconnect"]
    assert (sent[-1]["type"], sent[-1]["code"]) == ("websocket.close", 4401)
    assert connections.open == {}


def test_a_code_and_a_cookie_end_at_their_times():
    clock = Clock()
    browsers = Browsers(clock)
    late, used = browsers.invite("read"), browsers.invite("read")
    cookie, caller = browsers.admit(used)
    clock.now += timedelta(seconds=60)
    with pytest.raises(BadCode):
        browsers.admit(late)
    assert browsers.caller(cookie) == caller
    clock.now += timedelta(hours=12)
    assert browsers.caller(cookie) is None


def test_a_token_that_cannot_be_stored_is_not_made(tmp_path: Path):
    tokens = Tokens(tmp_path / "gone" / "tokens.json")
    with pytest.raises(StorageFailed):
        tokens.create(TokenCreate(name="a", scope="read"))
    assert tokens.listed().tokens == []
    with pytest.raises(UnknownToken):
        tokens.revoke("a")


def test_a_file_of_tokens_that_is_none_is_named(tmp_path: Path):
    (tmp_path / "tokens.json").write_text("{")
    with pytest.raises(ConfigError, match=r"tokens\.json: .*Delete it"):
        Tokens(tmp_path / "tokens.json")


@settings(deadline=None)
@given(st.lists(st.floats(0, 5), max_size=80), st.integers(1, 10), st.floats(0.5, 20))
def test_no_span_of_time_has_more_than_its_burst_and_rate(waits: list[float], burst: int, rate: float):
    now, passed = 0.0, []
    buckets = Buckets(rate, burst, lambda: now)
    for wait in waits:
        now += wait
        if not (pause := buckets.take("key")):
            passed.append(now)
        else:
            assert 0 < pause <= 1 / rate + 1e-9
    for i, start in enumerate(passed):
        for n, end in enumerate(passed[i:], 1):
            assert n <= burst + (end - start) * rate + 1e-6


NAMES = st.sampled_from(
    ("host", "origin", "authorization", "cookie", "sec-fetch-site", "content-type", "content-length")
)
VALUES = st.binary(max_size=40) | st.sampled_from(
    (b"127.0.0.1:9999", b"[::1", b"http://[", b"Bearer ", b"Bearer own", b"opta-9999=", b"//", b"null")
)


@settings(deadline=None)
@given(
    st.lists(st.tuples(NAMES.map(str.encode), VALUES), max_size=8),
    st.sampled_from(("GET", "POST", "DELETE", "HEAD", "TRACE", "WS")),
    st.text(max_size=30),
    st.binary(max_size=30),
)
def test_whatever_a_stranger_sends_is_refused_by_a_rule(headers: Any, method: str, path: str, query: bytes):
    scope = {"type": "http", "path": f"/v3/{path}", "query_string": query, "headers": headers}
    scope |= {"method": method, "server": ("127.0.0.1", 9999), "client": None}
    with pytest.raises(Refusal):
        admit(scope, Keys("a token that nobody guesses", Path("/nowhere/tokens.json")))


async def answer_all(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def inside(tmp_path: Path) -> httpx.AsyncClient:
    """The border around an application that answers everything."""
    keys, lifetime = Keys("own", tmp_path / "tokens.json"), Lifetime(None, None, lambda: 0)
    border = Border(answer_all, SimpleNamespace(keys=keys, lifetime=lifetime))
    return httpx.AsyncClient(transport=httpx.ASGITransport(border), base_url="http://127.0.0.1:9999")


async def test_too_many_failures_wait_and_keep_out_nobody_with_a_key(inside: httpx.AsyncClient):
    statuses = [(await inside.get("/v3/sessions")).status_code for _ in range(FAILURES[1] + 20)]
    assert set(statuses[: FAILURES[1]]) == {401}
    late = await inside.get("/v3/sessions")
    assert (late.status_code, late.headers["retry-after"], late.json()["code"]) == (
        429, "1", "too_many_requests",
    )  # fmt: skip
    assert (await inside.get("/v3/sessions", headers=bearer("own"))).status_code == 200


async def test_too_many_writes_wait_and_reads_go_on(inside: httpx.AsyncClient):
    statuses = []
    while len(statuses) < 3 * WRITES[1] and (not statuses or statuses[-1] == 200):
        statuses.append((await inside.post("/v3/sessions", headers=bearer("own"))).status_code)
    assert len(statuses) > WRITES[1]
    assert statuses[-1] == 429
    assert (await inside.get("/v3/sessions", headers=bearer("own"))).status_code == 200


def test_files_that_others_could_read_are_mended_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPTA_HOME", str(tmp_path))
    state.token_file().write_text("secret")
    state.token_file().chmod(0o644)
    state.folder().chmod(0o755)
    told = state.mend()
    assert [str(state.token_file()) in line for line in sorted(told)] == [False, True]
    assert stat.S_IMODE(state.folder().stat().st_mode) == 0o700
    assert stat.S_IMODE(state.token_file().stat().st_mode) == 0o600
    assert state.mend() == []
