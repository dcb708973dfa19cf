"""Who may ask: every route and the WebSocket, against everything a stranger can send; and bad input."""

import json
import re
import socket
import stat
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import httpx
import pytest
from django.urls import URLPattern, URLResolver, get_resolver
from ninja import NinjaAPI
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from cli.daemon import urls
from cli.daemon.access.scopes import ROUTES, needed
from tests import processes
from tests.processes import Role, free_port, send_endless_head


def paths(resolver: URLResolver, prefix: str = "/") -> Iterator[str]:
    """Every path of the daemon, also of routes that no OpenAPI document shows."""
    for each in resolver.url_patterns:
        here = prefix + str(each.pattern)
        if isinstance(each, URLResolver):
            yield from paths(each, here)
        elif isinstance(each, URLPattern) and each.name != "api-root":
            yield re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", here)


def operations() -> Iterator[tuple[str, str]]:
    """Method and path of everything that is served over HTTP."""
    apis = {each.urls_namespace: each for each in vars(urls).values() if isinstance(each, NinjaAPI)}
    for resolver in RESOLVER.url_patterns:
        found = apis[resolver.namespace].get_openapi_schema(path_prefix=f"/{resolver.pattern}")["paths"]
        yield from ((method.upper(), path) for path, methods in found.items() for method in methods)
        yield from (("GET", path) for path in paths(resolver, f"/{resolver.pattern}") if path not in found)


RESOLVER = get_resolver("cli.daemon.urls")
OPERATIONS = sorted(set(operations()))
SOCKETS = [(method, path) for method, path in ROUTES if method == "WS"]
NOWHERE = [("GET", "/v3/nothing"), ("GET", "/"), ("DELETE", "/v3/sessions"), ("WS", "/v3/nothing")]
ALL = [(m, re.sub(r"\{\w+(:path)?\}", "s1", p)) for m, p in OPERATIONS + SOCKETS] + NOWHERE
Answer = httpx.Response


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Role]:
    """Started for the second time: there was a token before its own."""
    home, lmx = tmp_path_factory.mktemp("opta"), f"http://127.0.0.1:{free_port()}"
    first = processes.daemon(home, lmx)
    before = first.token
    first.stop()
    role = processes.daemon(home, lmx)
    role.env["STALE"] = before
    yield role
    role.stop()


@pytest.fixture(scope="module")
def anyone(daemon: Role) -> Iterator[httpx.Client]:
    """A client without a key."""
    with httpx.Client(base_url=daemon.url, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def http(daemon: Role) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=daemon.url, headers=daemon.headers, timeout=30) as client:
        client.post("/v3/sessions", json={"id": "s1"}).raise_for_status()
        yield client


@pytest.fixture(scope="module")
def keys(daemon: Role, http: httpx.Client) -> dict[str, str]:
    """What may stand in a stranger's headers."""
    made = {scope: token(http, scope) for scope in ("read", "write")}
    revoked = token(http, "admin")
    last = http.get("/v3/access/tokens").json()["tokens"][-1]["id"]
    assert http.delete(f"/v3/access/tokens/{last}").status_code == 204
    cookie = sign_in(daemon, http)
    return {**made, "own": daemon.token, "stale": daemon.env["STALE"], "revoked": revoked, "cookie": cookie}


def token(http: httpx.Client, scope: str) -> str:
    made = http.post("/v3/access/tokens", json={"name": scope, "scope": scope})
    return made.raise_for_status().json()["token"]


def sign_in(daemon: Role, http: httpx.Client, scope: str = "admin") -> str:
    """The cookie of a browser that was let in, as it sends it."""
    code = http.post("/v3/access/codes", json={"scope": scope}).json()["code"]
    answer = httpx.post(
        f"{daemon.url}/v3/access/browser", json={"code": code}, headers={"Origin": daemon.url}
    )
    return answer.raise_for_status().headers["set-cookie"].partition(";")[0]


def ask(client: httpx.Client, method: str, path: str, headers: dict[str, Any]) -> Answer:
    """The answer of a route; of the WebSocket, the answer that denies the handshake."""
    if method != "WS":
        return client.request(method, path, headers=headers)
    address = (client.base_url.host, client.base_url.port)
    url = f"ws://{headers.get('Host', f'{address[0]}:{address[1]}')}{path}"
    extra = {name: value for name, value in headers.items() if name != "Host"}
    with pytest.raises(InvalidStatus) as denied, socket.create_connection(address) as sock:
        connect(url, sock=sock, additional_headers=extra, proxy=None)
    answer = denied.value.response
    return Answer(answer.status_code, headers=list(answer.headers.raw_items()), content=bytes(answer.body))


OWN = {"Authorization": "Bearer {own}"}
STRANGERS = {
    "no token": ({}, 401),
    "an empty token": ({"Authorization": "Bearer"}, 401),
    "a stale token": ({"Authorization": "Bearer {stale}"}, 401),
    "a revoked token": ({"Authorization": "Bearer {revoked}"}, 401),
    "a token that is not ASCII": ({"Authorization": "Bearer é".encode("latin-1")}, 401),
    "another scheme": ({"Authorization": "Basic {own}"}, 401),
    "a token as a cookie": ({"Cookie": "opta-{port}={own}"}, 401),
    "a foreign Host": ({**OWN, "Host": "evil.example"}, 403),
    "a Host that begins like ours": ({**OWN, "Host": "127.0.0.1.evil.example"}, 403),
    "a foreign Origin": ({**OWN, "Origin": "https://evil.example"}, 403),
    "an opaque Origin": ({**OWN, "Origin": "null"}, 403),
    "an Origin that begins like ours": ({**OWN, "Origin": "http://localhost.evil.example"}, 403),
    "a page of another site without an Origin": ({**OWN, "Sec-Fetch-Site": "cross-site"}, 403),
    "a cookie sent by a foreign page": ({"Cookie": "{cookie}", "Origin": "https://evil.example"}, 403),
}


def said(answer: Answer, path: str) -> dict[str, Any]:
    """The refusal, in the dialect of its path."""
    found = answer.json()
    if path.startswith("/v1/"):
        return found["error"]
    assert answer.headers["content-type"] == "application/problem+json"
    return {"message": found["detail"], "code": found["code"], "param": found.get("field")}


def filled(keys: dict[str, str], headers: dict[str, Any], daemon: Role) -> dict[str, Any]:
    known = {**keys, "port": daemon.url.rpartition(":")[2]}
    return {k: v.format(**known) if isinstance(v, str) else v for k, v in headers.items()}


@pytest.mark.parametrize("stranger", STRANGERS)
def test_every_route_refuses(daemon: Role, anyone: httpx.Client, keys: dict[str, str], stranger: str):
    headers, status = STRANGERS[stranger]
    for method, path in ALL:
        if status == 401 and needed(method, path) == "open":
            continue
        if method == "WS" and not all(isinstance(value, str) for value in headers.values()):
            continue  # the client library takes text alone
        answer = ask(anyone, method, path, filled(keys, headers, daemon))
        assert (answer.status_code, method, path) == (status, method, path)
        assert said(answer, path)["message"]


@pytest.mark.parametrize("scope", ["read", "write"])
def test_no_token_does_more_than_its_scope(anyone: httpx.Client, keys: dict[str, str], scope: str):
    above = {"read": ("write", "admin"), "write": ("admin",)}[scope]
    routes = [route for route in ALL if needed(*route) in above]
    assert routes
    for method, path in routes:
        answer = ask(anyone, method, path, {"Authorization": f"Bearer {keys[scope]}"})
        assert (answer.status_code, said(answer, path)["code"], path) == (403, "forbidden", path)


@pytest.mark.parametrize("elsewhere", ["http://localhost:3000", "http://127.0.0.1:1", None])
def test_a_cookie_works_from_the_daemons_own_pages_alone(
    anyone: httpx.Client, keys: dict[str, str], elsewhere: str | None
):
    """Another program's page on this machine is sent the cookie as well: a browser knows no ports there."""
    origin = {"Origin": elsewhere} if elsewhere else {}
    for method, path in ALL:
        if method == "GET" and (elsewhere is None or needed(method, path) == "open"):
            continue
        answer = ask(anyone, method, path, {"Cookie": keys["cookie"], **origin})
        assert (answer.status_code, said(answer, path)["code"], path) == (403, "foreign_origin", path)


def test_every_route_stands_in_the_table_of_scopes():
    table = {(method, template.replace(":path}", "}")) for method, template in ROUTES}
    assert [route for route in OPERATIONS if route not in table] == []
    assert [route for route in table if route not in OPERATIONS + SOCKETS] == []


def test_a_web_page_cannot_post_to_a_shell_as_in_cve_2026_22812(anyone: httpx.Client, keys: dict[str, str]):
    """All that a page may send without being asked first: a simple content type, with a cookie or without."""
    order = json.dumps({"command": "id", "text": "run id"})
    kinds = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", None)
    posts = [path for method, path in ALL if method == "POST"]
    assert posts
    for path in posts:
        for kind in kinds:
            content_type = {"Content-Type": kind} if kind else {}
            for sender in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {}):
                for key in ({}, {"Cookie": keys["cookie"]}):
                    answer = anyone.post(path, content=order, headers={**content_type, **sender, **key})
                    assert answer.status_code in (401, 403), (path, kind, sender, key)
                    assert not [name for name in answer.headers if name.startswith("access-control")]
            mine = {"Authorization": f"Bearer {keys['own']}", **content_type}
            if needed("POST", path) != "open":
                assert anyone.post(path, content=order, headers=mine).status_code == 415


def test_a_preflight_grants_nothing(anyone: httpx.Client):
    asks = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    for method, path in ALL:
        if method != "WS":
            answer = anyone.options(path, headers=asks)
            assert answer.status_code == 403
            assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("name", ["token", "access_token"])
def test_a_token_in_a_url_is_refused_even_beside_a_right_one(http: httpx.Client, daemon: Role, name: str):
    for method, path in ALL:
        answer = ask(http, method, f"{path}?{name}={daemon.token}", daemon.headers)
        assert (answer.status_code, said(answer, path)["param"]) == (400, name)


ODD = ("/sessions", "sessions/../access", "sessions/%2e%2e/access", "sessions/..", "./sessions")
ODDER = ("sessions/a%00b", "sessions/a%0ab", "sessions/a%5cb", "sessions/%ff", "sessions/" + "a" * 3000)


@pytest.mark.parametrize("path", ODD + ODDER)
def test_an_odd_path_is_refused(daemon: Role, path: str):
    """Sent as it is: a client library would tidy it up."""
    host, port = daemon.url.removeprefix("http://").split(":")
    connection = HTTPConnection(host, int(port))
    connection.request("GET", f"/v3/{path}", headers=daemon.headers)
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["code"]) == (400, "invalid_path")
    connection.close()


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


NEARLY = [
    ("Host", "evil.example@127.0.0.1"),
    ("Host", "127.0.0.1/evil.example"),
    ("Host", "localhost."),
    ("Host", "[::1]evil.example"),
    ("Host", "localhost:80:80"),
    ("Host", ""),
    ("Origin", "http://evil.example\\@localhost"),
    ("Origin", "//localhost"),
    ("Origin", "file://localhost"),
    ("Origin", "http://localhost/evil"),
    ("Origin", ""),
]


@pytest.mark.parametrize(("name", "value"), NEARLY)
def test_what_is_nearly_loopback_is_refused(http: httpx.Client, name: str, value: str):
    answer = http.get("/v3/sessions", headers={name: value})
    assert (answer.status_code, answer.json()["code"]) == (403, f"foreign_{name.lower()}")


def test_secrets_are_the_users_alone(daemon: Role):
    folder = daemon.home / "daemon"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for file in folder.rglob("*"):
        assert stat.S_IMODE(file.stat().st_mode) == (0o700 if file.is_dir() else 0o600), file
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
    ("GET", "/v3/sessions/s1/events?after=1", None, 400, "after"),
    ("GET", "/v3/sessions/s1/stream?after=1", None, 400, "after"),
    ("GET", f"/v3/sessions/s1/stream?after={10**30}", None, 400, "after"),
    ("GET", "/v3/sessions/s1/events?afte=1", None, 400, "afte"),
    ("GET", "/v3/sessions/s1/events?after=0&after=0", None, 400, "after"),
    ("GET", "/v3/sessions/s1?format=md", None, 400, "format"),
    ("GET", "/v3/health?verbose", None, 400, "verbose"),
    ("DELETE", "/v3/sessions/s1?dry_run=true", None, 400, "dry_run"),
    ("GET", "/v3/sessions?" + "&".join(["tag=a"] * 1001), None, 400, None),
    ("POST", "/v3/sessions/s1/cancel", {"turn": "nothing"}, 404, None),
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


def test_the_last_event_that_was_seen_goes_before_the_query(http: httpx.Client):
    """A browser's EventSource resumes by its header, and repeats the query that it began with."""
    url = "/v3/sessions/s1/stream?after=1"
    with http.stream("GET", url, headers={"Last-Event-ID": "0"}) as answer:
        assert answer.status_code == 200
    assert http.get("/v3/sessions/s1/stream", headers={"Last-Event-ID": "1"}).status_code == 400


def test_a_head_without_an_end_is_read_up_to_a_limit(daemon: Role):
    with pytest.raises(ConnectionError):
        send_endless_head(daemon, "/v3/health")
    assert httpx.get(f"{daemon.url}/v3/health", headers={"X": "x" * 30_000}).status_code == 200


def test_no_secret_stands_in_the_log(daemon: Role, http: httpx.Client, keys: dict[str, str]):
    for method, path in (("GET", "/v3/sessions"), ("WS", "/v3/ws")):
        for secret in ("own", "read", "cookie"):
            ask(http, method, f"{path}?token={keys[secret]}", {})
    written = daemon.log.read_text()
    assert "listens on" in written
    assert [name for name, key in keys.items() if key in written] == []
    assert "handshake" not in written


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_10_mb_is_refused(http: httpx.Client, chunked: bool):
    body = json.dumps({"text": "x" * (11 * 1024 * 1024)}).encode()
    content = iter([body[: 1024 * 1024], body[1024 * 1024 :]]) if chunked else body
    kind = {"Content-Type": "application/json"}
    answer = http.post("/v3/sessions/s1/turns", content=content, headers=kind)
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert http.get("/v3/sessions/s1").status_code == 200


def test_a_socket_message_over_10_mb_ends_the_socket(daemon: Role):
    url = f"{daemon.url.replace('http', 'ws')}/v3/ws"
    with (
        pytest.raises(ConnectionClosed) as closed,
        connect(url, additional_headers=daemon.headers, proxy=None) as socket,
    ):
        socket.send("x" * (11 * 1024 * 1024))
        socket.recv()
    # What was still on its way may cut the connection before the word of why is read.
    assert closed.value.rcvd is None or closed.value.rcvd.code == 1009


def test_the_schema_describes_the_events(http: httpx.Client):
    schema = http.get("/v3/schema").json()
    assert {"TurnStarted", "TextDelta", "TurnFailed"} <= set(schema["$defs"])
