"""Sessions over HTTP: made, listed, searched, changed, forked, deleted."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests import processes
from tests.cli.daemon.conftest import V3, body, kind, until
from tests.processes import Role
from tests.scripted import Scripted, call, end, says, scripted, text

# The scripted server stays for all tests, and lives on their loop.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Scripted]:
    async with scripted() as script:
        yield script


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, server: Scripted) -> Iterator[Role]:
    """One for all tests here: each finds it without sessions, for the one before deleted its own."""
    role = processes.daemon(tmp_path_factory.mktemp("opta"), server.url)
    yield role
    role.stop()


@pytest.fixture
def model(server: Scripted) -> Scripted:
    server.answers.clear()
    server.requests.clear()
    return server


@pytest_asyncio.fixture(loop_scope="module")
async def v3(daemon: Role, connect: Callable[[Role], V3]) -> AsyncIterator[V3]:
    client = connect(daemon)
    yield client
    for session in await ids(client, archived="any"):
        await client.cancel(session)
        (await client.http.delete(f"/v3/sessions/{session}")).raise_for_status()


async def get(v3: V3, path: str, **query: Any) -> Any:
    return (await v3.http.get(f"/v3/sessions{path}", params=query)).raise_for_status().json()


async def ids(v3: V3, **query: Any) -> list[str]:
    return [session["id"] for session in (await get(v3, "", **query))["sessions"]]


async def patch(v3: V3, session: str, **fields: Any) -> dict[str, Any]:
    return (await v3.http.patch(f"/v3/sessions/{session}", json=fields)).raise_for_status().json()


async def fork(v3: V3, session: str, **fields: Any) -> dict[str, Any]:
    return (await v3.http.post(f"/v3/sessions/{session}/fork", json=fields)).raise_for_status().json()


async def talk(v3: V3, model: Scripted, session: str, said: dict[str, str]) -> list[str]:
    """One turn for each question and its answer; their ids."""
    turns = []
    for question, answer in said.items():
        model.will(*says(answer))
        after = (await get(v3, f"/{session}"))["seq"]
        turns.append(await v3.submit(session, question))
        await v3.settled(session, after)
    return turns


async def found(v3: V3, q: str, **query: Any) -> list[str]:
    """The snippets, each with its matches in brackets."""
    return [marked(hit) for hit in (await get(v3, "/search", q=q, **query))["hits"]]


def marked(hit: dict[str, Any]) -> str:
    snippet = hit["snippet"]
    for first, last in reversed(hit["matches"]):
        snippet = f"{snippet[:first]}[{snippet[first:last]}]{snippet[last:]}"
    return snippet


async def test_a_session_keeps_what_was_chosen_for_it(v3: V3, tmp_path: Path):
    (tmp_path / ".git").mkdir()
    (tmp_path / "deep" / "er").mkdir(parents=True)
    chosen = {"mode": "plan", "tools": ["read", "grep"], "tags": ["a", "two words", "a"], "title": "T"}
    session = await v3.create(cwd=str(tmp_path / "deep" / "er"), instructions="Say please.", **chosen)
    detail = await v3.detail(session)
    assert {name: detail[name] for name in chosen} == {**chosen, "tags": ["a", "two words"]}
    assert detail["project"] == str(tmp_path)
    assert detail["system"].endswith("\n\nSay please.")
    assert detail["instructions"] == "Say please."
    assert (detail["archived"], detail["origin"], detail["turns"]) == (False, None, 0)


async def test_a_model_is_offered_the_sessions_tools_alone(v3: V3, model: Scripted):
    for tools in (["read_file", "nonexistent"], []):
        await talk(v3, model, await v3.create(tools=tools, cwd="/"), {"a": "one"})
    offered = [request.get("tools", []) for request in model.requests]
    assert [[tool["function"]["name"] for tool in tools] for tools in offered] == [["read_file"], []]


async def test_a_retried_create_makes_no_second_session(v3: V3):
    first = await v3.http.post("/v3/sessions", json={"id": "s", "title": "one", "cwd": "/"})
    again = await v3.http.post("/v3/sessions", json={"id": "s", "title": "two"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()


async def test_a_tag_is_kept_once(v3: V3):
    session = await v3.create(tags=["a", "b", "a"])
    assert (await get(v3, f"/{session}"))["tags"] == ["a", "b"]
    assert (await patch(v3, session, tags=["c", "a", "c"]))["tags"] == ["c", "a"]


WRONG = [
    ("POST", "", {"mode": "dance"}, 400, "mode"),
    ("POST", "", {"tools": ["rm -rf"]}, 400, "tools.0"),
    ("POST", "", {"tags": ["a,b"]}, 400, "tags.0"),
    ("POST", "", {"tags": [" a"]}, 400, "tags.0"),
    ("POST", "", {"id": "search"}, 400, "id"),
    ("PATCH", "/s", {}, 400, "body"),
    ("PATCH", "/s", {"title": "x" * 201}, 400, "title"),
    ("PATCH", "/s", {"system": "another"}, 400, "system"),
    ("PATCH", "/s", {"archived": "yes"}, 400, "archived"),
    ("PATCH", "/nobody", {"title": "x"}, 404, None),
    ("POST", "/s/fork", {"turn": "nothing"}, 404, "turn"),
    ("POST", "/nobody/fork", {}, 404, None),
    ("DELETE", "/nobody", None, 404, None),
    ("GET", "/nobody/export", None, 404, None),
    ("GET", "/s/export?format=pdf", None, 400, "format"),
    ("GET", "/search", None, 400, "q"),
    ("GET", "/search?q=%20", None, 400, "q"),
    ("GET", "?before=yesterday", None, 400, "before"),
    ("GET", "?archived=perhaps", None, 400, "archived"),
    ("GET", "?limit=1001", None, 400, "limit"),
    ("GET", "?tags=work", None, 400, "tags"),
]


async def test_what_is_wrong_is_refused_by_its_field(v3: V3):
    await v3.create(id="s")
    for method, path, content, status, field in WRONG:
        more = {} if content is None else {"json": content}
        answer = await v3.http.request(method, f"/v3/sessions{path}", **more)
        assert (answer.status_code, answer.json().get("field")) == (status, field), (method, path, content)
        assert answer.json()["detail"]


async def test_pages_show_every_session_once_the_last_used_first(v3: V3):
    made = [await v3.create(id=f"s{number}") for number in range(7)]
    first = await get(v3, "", limit=3)
    second = await get(v3, "", limit=3, before=first["next"])
    third = await get(v3, "", limit=3, before=second["next"])
    pages = [[session["id"] for session in page["sessions"]] for page in (first, second, third)]
    assert [id for page in pages for id in page] == made[::-1]
    assert third["next"] is None
    assert await ids(v3, id="s3") == ["s3"]


async def test_a_list_is_filtered(v3: V3, tmp_path: Path):
    await v3.create(id="plain", cwd=str(tmp_path))
    await v3.create(id="tagged", tags=["work", "it's"], model="big")
    await v3.create(id="old")
    await patch(v3, "old", archived=True)
    assert await ids(v3, tag="it's") == ["tagged"]
    assert await ids(v3, tag="wor") == []
    assert await ids(v3, model="big") == ["tagged"]
    assert await ids(v3, project=str(tmp_path)) == ["plain"]
    assert await ids(v3) == ["tagged", "plain"]
    assert await ids(v3, archived="true") == ["old"]
    assert await ids(v3, archived="any") == ["old", "tagged", "plain"]


async def test_turns_and_the_last_number_are_counted(v3: V3, model: Scripted):
    session = await v3.create()
    await talk(v3, model, session, {"a": "one", "b": "two"})
    (listed,) = (await get(v3, ""))["sessions"]
    events = await v3.events(session)
    assert (listed["turns"], listed["seq"], listed["active"]) == (2, events[-1]["seq"], None)
    assert listed["title"] == "a"


async def test_a_running_turn_is_shown(v3: V3, model: Scripted):
    model.will(text("on"), asyncio.Event())
    session = await v3.create()
    turn = await v3.submit(session, "go")
    await until(v3.stream(session), "text.delta")
    assert (await get(v3, ""))["sessions"][0]["active"] == turn
    assert (await v3.detail(session))["active"] == turn
    await v3.cancel(session)


async def test_a_change_is_told_to_all_who_follow(v3: V3, model: Scripted):
    session = await v3.create()
    await talk(v3, model, session, {"a": "one"})
    last = (await v3.detail(session))["seq"]
    follower = asyncio.create_task(until(v3.stream(session, last), "session.updated", times=2))
    socket = asyncio.create_task(until(v3.socket(session, last), "session.updated", times=2))
    await patch(v3, session, title="New", tags=["x", "y"])
    view = await patch(v3, session, archived=True, mode="plan", model="big")
    seen = await follower
    assert await socket == seen
    assert [json.loads(data)["seq"] for data in seen] == [last + 1, last + 2]
    assert {name: value for name, value in body(seen[0]).items() if value is not None} == {
        "type": "session.updated", "title": "New", "tags": ["x", "y"],
    }  # fmt: skip
    assert (view["title"], view["tags"], view["archived"], view["mode"], view["model"]) == (
        "New", ["x", "y"], True, "plan", "big",
    )  # fmt: skip
    assert view["seq"] == last + 2


async def test_a_change_while_a_turn_runs_stands_between_its_words(v3: V3, model: Scripted):
    gate = asyncio.Event()
    model.will(text("Half"), gate, text(" whole"), end())
    session = await v3.create(title="Old")
    await v3.submit(session, "go")
    await until(v3.stream(session), "text.delta")
    await patch(v3, session, title="New")
    gate.set()
    seen = await v3.settled(session)
    kinds = [kind(data) for data in seen]
    assert kinds.index("session.updated") > kinds.index("text.delta")
    assert [m["content"] for m in (await v3.detail(session))["messages"]] == ["go", "Half whole"]
    assert (await v3.detail(session))["title"] == "New"


async def test_a_change_does_not_count_as_use(v3: V3, model: Scripted):
    for id in ("first", "second"):
        await v3.create(id=id)
    await patch(v3, "first", title="renamed")
    assert await ids(v3) == ["second", "first"]
    await talk(v3, model, "first", {"a": "one"})
    assert await ids(v3) == ["first", "second"]


async def test_search_finds_titles_and_messages(v3: V3, model: Scripted):
    one, two = await v3.create(title="Moving the café"), await v3.create()
    await talk(v3, model, one, {"How do I migrate Postgres?": "With pg_dump, then restore."})
    await talk(v3, model, two, {"Tell me a story": "A postgres was lost in the wood."})
    assert await found(v3, "postg dump") == []
    assert await found(v3, "pg_dump") == ["With [pg_dump], then restore."]
    assert await found(v3, "migr POSTGRES") == ["How do I [migrate] [Postgres]?"]
    assert await found(v3, "cafe") == ["Moving the [café]"]
    assert await found(v3, '"the wood"') == ["A postgres was lost in [the wood]."]
    assert await found(v3, '"wood the"') == []
    hits = (await get(v3, "/search", q="postgres"))["hits"]
    assert {hit["session"]["id"] for hit in hits} == {one, two}
    assert len((await get(v3, "/search", q="postgres", limit=1))["hits"]) == 1


async def test_search_follows_a_rename_an_archive_and_a_delete(v3: V3, model: Scripted):
    session = await v3.create(title="apples")
    await talk(v3, model, session, {"pears?": "plums"})
    await patch(v3, session, title="oranges")
    assert await found(v3, "apples") == []
    assert await found(v3, "oranges") == ["[oranges]"]
    await patch(v3, session, archived=True, tags=["fruit"])
    assert await found(v3, "plums") == []
    assert await found(v3, "plums", archived="true", tag="fruit") == ["[plums]"]
    (await v3.http.delete(f"/v3/sessions/{session}")).raise_for_status()
    assert await found(v3, "plums", archived="any") == []


@pytest.mark.parametrize("q", ['"', "a AND", "NEAR(", "*", "title:x", "-", "a\0b", "'; --", "^a", "{a}: b"])
async def test_no_query_is_a_syntax_error(v3: V3, q: str):
    assert await found(v3, q) == []


async def test_a_fork_goes_on_by_itself_from_a_turn(v3: V3, model: Scripted):
    session = await v3.create(title="T", tags=["x"], mode="plan", tools=["read"], cwd="/")
    turns = await talk(v3, model, session, {"a": "one", "b": "two", "c": "three"})
    before = await v3.detail(session)
    view = await fork(v3, session, turn=turns[1])
    assert view["origin"] == {"session": session, "turn": turns[1]}
    assert (view["title"], view["tags"], view["mode"], view["turns"]) == ("T", ["x"], "plan", 2)
    detail = await v3.detail(view["id"])
    # Behind the first message stands a reminder of the mode.
    assert [m["content"].split("\n\n[")[0] for m in detail["messages"]] == ["a", "one", "b", "two"]
    assert (detail["system"], detail["tools"]) == (before["system"], ["read"])

    await talk(v3, model, view["id"], {"d": "four"})
    await talk(v3, model, session, {"e": "five"})
    heads = [[m["content"].split("\n\n[")[0] for m in each["messages"][1:]] for each in model.requests[-2:]]
    assert heads == [["a", "one", "b", "two", "d"], ["a", "one", "b", "two", "c", "three", "e"]]
    # The prompt of the fork begins as its origin's did, byte for byte: a server's kept prefix holds.
    assert model.requests[2]["messages"][:5] == model.requests[3]["messages"][:5]


async def test_a_forks_events_replay_as_its_own(v3: V3, model: Scripted):
    model.will(call("look", "{}"), end("tool_calls"))
    session = await v3.create()
    await talk(v3, model, session, {"a": "one", "b": "two"})
    view = await fork(v3, session)
    events = await v3.events(view["id"])
    facts = [each for each in await v3.events(session) if not each["event"]["type"].endswith(".delta")]
    assert events == [each for each in facts if each["event"]["type"] != "turn.progress"]
    assert view["seq"] == events[-1]["seq"]
    await patch(v3, view["id"], title="another")
    assert (await v3.events(view["id"]))[-1]["seq"] == view["seq"] + 1
    assert (await v3.events(session))[-1]["event"]["type"] == "turn.done"
    assert (await v3.detail(session))["title"] == "a"


async def test_a_fork_outlives_its_origin_and_is_found_by_its_words(v3: V3, model: Scripted):
    session = await v3.create()
    await talk(v3, model, session, {"question": "answer"})
    view = await fork(v3, session, title="heir")
    (await v3.http.delete(f"/v3/sessions/{session}")).raise_for_status()
    assert await found(v3, "answer") == ["[answer]"]
    assert await found(v3, "heir") == ["[heir]"]
    assert (await v3.detail(view["id"]))["origin"]["session"] == session


async def test_a_fork_leaves_out_what_has_not_ended(v3: V3, model: Scripted):
    session = await v3.create()
    (first,) = await talk(v3, model, session, {"a": "one"})
    model.will(text("Half"), asyncio.Event())
    running = await v3.submit(session, "b")
    await v3.submit(session, "c")
    await until(v3.stream(session), "text.delta", times=2)
    answer = await v3.http.post(f"/v3/sessions/{session}/fork", json={"turn": running})
    assert (answer.status_code, answer.json()["field"]) == (409, "turn")
    view = await fork(v3, session)
    assert view["origin"]["turn"] == first
    assert [m["content"] for m in (await v3.detail(view["id"]))["messages"]] == ["a", "one"]
    await v3.cancel(session)


async def test_a_retried_fork_makes_no_second_session(v3: V3, model: Scripted):
    session = await v3.create()
    (turn,) = await talk(v3, model, session, {"a": "one"})
    assert await fork(v3, session, id="f", turn=turn) == await fork(v3, session, id="f")
    await v3.create(id="other")
    answer = await v3.http.post(f"/v3/sessions/{session}/fork", json={"id": "other"})
    assert (answer.status_code, answer.json()["field"]) == (409, "id")


async def test_an_empty_session_is_forked_empty(v3: V3):
    session = await v3.create()
    view = await fork(v3, session)
    assert (view["turns"], view["seq"], view["origin"]) == (0, 0, {"session": session, "turn": ""})


async def test_a_deleted_session_leaves_nothing(v3: V3, model: Scripted):
    session = await v3.create(id="gone", title="secret")
    await talk(v3, model, session, {"whisper": "hush"})
    follower = asyncio.create_task(collect(v3, session))
    await until(v3.stream(session), "turn.done")
    answer = await v3.http.delete(f"/v3/sessions/{session}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert [kind(data) for data in await follower][-1] == "turn.done"
    for path in ("", "/events", "/export", "/stream"):
        assert (await v3.http.get(f"/v3/sessions/{session}{path}")).status_code == 404
    answer = await v3.http.post(f"/v3/sessions/{session}/turns", json={"text": "hi"})
    assert answer.status_code == 404
    assert (await v3.http.delete(f"/v3/sessions/{session}")).status_code == 404
    files = [file.read_bytes() for file in (v3.role.home / "daemon").glob("daemon.sqlite3*")]
    assert [word for word in (b"hush", b"whisper") if any(word in file for file in files)] == []
    with sqlite3.connect(v3.role.home / "daemon" / "daemon.sqlite3") as rows:
        left = [line for line in rows.iterdump() if line.startswith("INSERT INTO") and "daemon_" in line]
    assert [line for line in left if "hush" in line or "gone" in line] == []


async def collect(v3: V3, session: str) -> list[str]:
    return [data async for data in v3.stream(session)]


async def test_an_id_of_a_deleted_session_begins_anew(v3: V3, model: Scripted):
    await v3.create(id="s")
    await talk(v3, model, "s", {"a": "one"})
    async with v3.http.stream("GET", "/v3/sessions/s/stream") as held:
        (await v3.http.delete("/v3/sessions/s")).raise_for_status()
        await v3.create(id="s")
        await talk(v3, model, "s", {"b": "two"})
        assert (await v3.events("s"))[0]["seq"] == 1
        assert [m["content"] for m in (await v3.detail("s"))["messages"]] == ["b", "two"]
        assert "two" not in "".join([piece async for piece in held.aiter_text()])


async def test_a_session_with_a_turn_under_way_is_not_deleted(v3: V3, model: Scripted):
    model.will(text("Half"), asyncio.Event())
    session = await v3.create()
    turn = await v3.submit(session, "go")
    await until(v3.stream(session), "text.delta")
    answer = await v3.http.delete(f"/v3/sessions/{session}")
    assert answer.status_code == 409
    assert turn in answer.json()["detail"]
    await v3.cancel(session)
    assert (await v3.http.delete(f"/v3/sessions/{session}")).status_code == 204
