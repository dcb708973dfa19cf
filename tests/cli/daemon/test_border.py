"""Who may ask: every route and the WebSocket, against everything a stranger can send; and bad input."""

import json
import stat
from collections.abc import Iterator

import httpx
import pytest
import websockets

from cli.daemon.urls import api
from tests import processes
from tests.processes import Role, free_port

ROUTES = [
    (method.upper(), path.replace("{id}", "s1"))
    for path, methods in api.get_openapi_schema(path_prefix="/v3/")["paths"].items()
    for method in methods
] + [("GET", "/v3/openapi.json"), ("GET", "/v3/nothing"), ("GET", "/"), ("WS", "/v3/ws?session=s1")]
OPEN = ("GET", "/v3/health")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Role]:
    role = processes.daemon(tmp_path_factory.mktemp("opta"), f"http://127.0.0.1:{free_port()}")
    yield role
    role.stop()


@pytest.fixture(scope="module")
def http(daemon: Role) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=daemon.url, headers=daemon.headers, timeout=30) as client:
        client.post("/v3/sessions", json={"id": "s1"}).raise_for_status()
        yield client


async def ask(daemon: Role, method: str, path: str, headers: dict[str, str]) -> httpx.Response:
    """The answer of a route; of the WebSocket, the answer that denies the handshake."""
    if method != "WS":
        async with httpx.AsyncClient(base_url=daemon.url) as client:
            return await client.request(method, path, headers=headers)
    host = headers.get("Host")
    url = daemon.url.replace("http", "ws") + path
    extra = {name: value for name, value in headers.items() if name != "Host"}
    if host:
        address = {"host": "127.0.0.1", "port": int(daemon.url.rpartition(":")[2])}
        connection = websockets.connect(f"ws://{host}{path}", additional_headers=extra, **address)
    else:
        connection = websockets.connect(url, additional_headers=extra)
    with pytest.raises(websockets.InvalidStatus) as denied:
        async with connection:
            pass
    answer = denied.value.response
    return httpx.Response(
        answer.status_code, headers=list(answer.headers.raw_items()), content=bytes(answer.body)
    )


STRANGERS = {
    "no token": ({}, 401),
    "an empty token": ({"Authorization": "Bearer"}, 401),
    "a stale token": ({"Authorization": "Bearer " + "A" * 43}, 401),
    "a token that is not ASCII": ({"Authorization": "Bearer é".encode("latin-1")}, 401),
    "another scheme": ({"Authorization": "Basic {token}"}, 401),
    "a foreign Host": ({"Authorization": "Bearer {token}", "Host": "evil.example"}, 403),
    "a Host that begins like ours": (
        {"Authorization": "Bearer {token}", "Host": "127.0.0.1.evil.example"}, 403,
    ),
    "a foreign Origin": ({"Authorization": "Bearer {token}", "Origin": "https://evil.example"}, 403),
    "an opaque Origin": ({"Authorization": "Bearer {token}", "Origin": "null"}, 403),
    "an Origin that begins like ours": (
        {"Authorization": "Bearer {token}", "Origin": "http://localhost.evil.example"}, 403,
    ),
}  # fmt: skip


def filled(daemon: Role, headers: dict[str, str]) -> dict[str, str]:
    return {
        name: value.replace("{token}", daemon.token) if isinstance(value, str) else value
        for name, value in headers.items()
    }


@pytest.mark.parametrize("stranger", STRANGERS)
async def test_every_route_refuses(daemon: Role, http: httpx.Client, stranger: str):
    headers, status = STRANGERS[stranger]
    for route in ROUTES:
        if route == OPEN and status == 401:
            continue
        if route[0] == "WS" and not all(isinstance(value, str) for value in headers.values()):
            continue  # the client library takes text alone
        answer = await ask(daemon, *route, filled(daemon, headers))
        assert (answer.status_code, route) == (status, route)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"]


async def test_a_token_in_a_url_is_refused_even_beside_a_right_one(daemon: Role, http: httpx.Client):
    for method, path in ROUTES:
        path += f"{'&' if '?' in path else '?'}token={daemon.token}"
        answer = await ask(daemon, method, path, daemon.headers)
        assert (answer.status_code, answer.json()["field"]) == (400, "token")


def test_health_alone_is_open_and_says_little(daemon: Role):
    answer = httpx.get(f"{daemon.url}/v3/health")
    assert answer.status_code == 200
    assert answer.json()["service"] == "opta-daemon"
    assert daemon.token not in answer.text
    assert httpx.post(f"{daemon.url}/v3/health").status_code == 401


@pytest.mark.parametrize("host", ["127.0.0.1:1", "localhost", "[::1]:9999", "LOCALHOST:9999"])
@pytest.mark.parametrize("origin", [None, "http://localhost:3000", "http://127.0.0.1", "http://[::1]:1"])
def test_loopback_under_any_name_is_let_in(http: httpx.Client, host: str, origin: str | None):
    headers = {"Host": host, **({"Origin": origin} if origin else {})}
    answer = http.get("/v3/sessions", headers=headers)
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_secrets_are_the_users_alone(daemon: Role):
    folder = daemon.home / "daemon"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for file in folder.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert daemon.token not in (folder / "state.json").read_text()


BAD = [
    ("POST", "/v3/sessions/s1/turns", {"text": ""}, 400, "text"),
    ("POST", "/v3/sessions/s1/turns", {"text": " \n"}, 400, "text"),
    ("POST", "/v3/sessions/s1/turns", {"text": 5}, 400, "text"),
    ("POST", "/v3/sessions/s1/turns", {}, 400, "text"),
    ("POST", "/v3/sessions/s1/turns", {"text": "hi", "colour": "red"}, 400, "colour"),
    ("POST", "/v3/sessions/s1/turns", {"text": "hi", "id": "../x"}, 400, "id"),
    ("POST", "/v3/sessions/s1/turns", {"text": "x" * 1_000_001}, 400, "text"),
    ("POST", "/v3/sessions", {"cwd": "relative"}, 400, "cwd"),
    ("POST", "/v3/sessions", {"cwd": "/no/such/folder"}, 400, "cwd"),
    ("POST", "/v3/sessions", {"cwd": "/" + "x" * 300}, 400, "cwd"),
    ("POST", "/v3/sessions", {"id": "a b"}, 400, "id"),
    ("POST", "/v3/sessions", [], 400, "body"),
    ("POST", "/v3/sessions/s1/cancel", {"turns": "t"}, 400, "turns"),
    ("GET", "/v3/sessions/s1/events?after=-1", None, 400, "after"),
    ("GET", "/v3/sessions/s1/events?after=x", None, 400, "after"),
    ("GET", "/v3/sessions?limit=0", None, 400, "limit"),
    ("POST", "/v3/sessions/nobody/turns", {"text": "hi"}, 404, None),
    ("POST", "/v3/sessions/nobody/cancel", {}, 404, None),
    ("GET", "/v3/sessions/nobody", None, 404, None),
    ("GET", "/v3/sessions/nobody/events", None, 404, None),
    ("GET", "/v3/sessions/nobody/stream", None, 404, None),
    ("GET", "/v3/nothing", None, 404, None),
    ("DELETE", "/v3/sessions", None, 405, None),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "field"), BAD)
def test_bad_input_is_refused_by_its_field(http: httpx.Client, method, path, body, status, field):
    answer = http.request(method, path, json=body) if body is not None else http.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json().get("field") == field
    assert http.get("/v3/health").status_code == 200


@pytest.mark.parametrize("content", [b"{", b"\xff", b'{"text": "\\ud800"}', b'{"text": NaN}', b""])
def test_what_is_no_json_is_refused(http: httpx.Client, content: bytes):
    answer = http.post("/v3/sessions/s1/turns", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["detail"]


@pytest.mark.parametrize("value", ["x", "9" * 5000])
def test_a_wrong_last_event_id_is_refused(http: httpx.Client, value: str):
    answer = http.get("/v3/sessions/s1/stream", headers={"Last-Event-ID": value})
    assert (answer.status_code, answer.json()["field"]) == (400, "Last-Event-ID")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_10_mb_is_refused(http: httpx.Client, chunked: bool):
    body = json.dumps({"text": "x" * (11 * 1024 * 1024)}).encode()
    content = iter([body[: 1024 * 1024], body[1024 * 1024 :]]) if chunked else body
    answer = http.post("/v3/sessions/s1/turns", content=content)
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert http.get("/v3/sessions/s1").status_code == 200


def test_the_schema_describes_the_events(http: httpx.Client):
    schema = http.get("/v3/schema").json()
    assert {"TurnStarted", "TextDelta", "TurnFailed"} <= set(schema["$defs"])
