"""`/v3/operations`: each runs its own route, by its name."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from cli.operations.table import OPERATIONS
from tests.cli.daemon.conftest import V3, body
from tests.processes import Role
from tests.scripted import Scripted, says

Answer = httpx.Response


async def run(v3: V3, id: str, /, *, confirm: bool = False, **given: Any) -> Answer:
    return await v3.http.post(f"/v3/operations/{id}", json={"input": given, "confirm": confirm})


async def done(v3: V3, id: str, /, *, confirm: bool = False, **given: Any) -> Any:
    answer = (await run(v3, id, confirm=confirm, **given)).raise_for_status()
    return answer.json() if answer.content else None


@pytest.fixture
async def session(standing_v3: V3) -> str:
    return await standing_v3.create(title="Mine")


async def test_all_of_the_table_is_listed_with_schema_and_safety(standing_v3: V3):
    found = (await standing_v3.http.get("/v3/operations")).raise_for_status().json()["operations"]
    assert [each["id"] for each in found] == list(OPERATIONS)
    by_id = {each["id"]: each for each in found}
    assert by_id["session.list"]["safety"] == "read"
    assert (by_id["turn.submit"]["safety"], by_id["turn.submit"]["scope"]) == ("write", "write")
    assert (by_id["token.revoke"]["safety"], by_id["token.revoke"]["scope"]) == ("dangerous", "admin")
    assert set(by_id["turn.submit"]["input"]["required"]) == {"session", "text"}


@pytest.mark.parametrize("id", [id for id, operation in OPERATIONS.items() if operation.safety == "read"])
async def test_what_looks_answers_as_its_route_does(
    standing_v3: V3, standing_model: Scripted, session: str, id: str
):
    given = {"session": session, "job": "none", "q": "mine", "turn": "none", "tag": "x", "rule": "none"}
    operation = OPERATIONS[id]
    known = {name: value for name, value in given.items() if name in operation.input.model_fields}
    asked = operation.request(known)
    route = await standing_v3.http.get(f"{asked.path}?{asked.query}")
    answer = await run(standing_v3, id, **known)
    assert answer.status_code == route.status_code
    assert answer.headers["content-type"] == route.headers["content-type"]
    if id != "daemon.health":  # which counts the seconds
        assert answer.content == route.content


async def test_a_session_is_lived_by_operations_alone(standing_v3: V3, standing_model: Scripted):
    standing_model.will(*says("Hello"))
    opened = await run(standing_v3, "session.create", id="by-name", title="One")
    assert (opened.status_code, opened.json()["id"]) == (201, "by-name")
    turn = await run(standing_v3, "turn.submit", session="by-name", text="hi", id="t1")
    assert (turn.status_code, turn.json()["id"]) == (202, "t1")
    assert body((await standing_v3.settled("by-name"))[-1])["text"] == "Hello"
    assert (await done(standing_v3, "session.update", session="by-name", tags=["x"]))["tags"] == ["x"]
    fork = await done(standing_v3, "session.fork", session="by-name", turn="t1")
    assert (fork["origin"], fork["turns"]) == ({"session": "by-name", "turn": "t1"}, 1)
    assert await done(standing_v3, "turn.cancel", session="by-name") == {"turns": []}
    assert "Hello" in (await run(standing_v3, "session.export", session="by-name")).text
    refused = await run(standing_v3, "turn.steer", session="by-name", turn="t1", text="late")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    for id in ("by-name", fork["id"]):
        assert await done(standing_v3, "session.delete", session=id, confirm=True) is None
        assert (await standing_v3.http.get(f"/v3/sessions/{id}")).status_code == 404


@pytest.mark.parametrize("id", [id for id, operation in OPERATIONS.items() if operation.danger])
async def test_what_is_dangerous_says_what_it_does_before_it_does_it(standing_v3: V3, session: str, id: str):
    examples: dict[str, Any] = {
        "job.start": {"session": session, "line": "touch /tmp/never"},
        "job.signal": {"job": "j", "signal": "kill"},
        "rule.add": {"action": "allow", "pattern": "*", "scope": "user"},
        "provider.add": {"name": "cloud", "url": "https://x.example", "key": "sk-secret"},
        "config.change": {"model": "other"},
        "trust.decide": {"folder": "/", "trusted": True},
        "token.create": {"name": "t", "scope": "admin"},
        "browser.invite": {"scope": "admin"},
    }
    operation = OPERATIONS[id]
    given = examples.get(id, dict.fromkeys(operation.places, session))
    answer = await run(standing_v3, id, **given)
    assert (answer.status_code, answer.json()["code"]) == (409, "confirmation_required")
    assert answer.json()["field"] == "confirm"
    assert operation.danger in answer.json()["detail"]
    assert all(str(given[place]) in answer.json()["detail"] for place in operation.places)
    assert "sk-secret" not in answer.text
    assert (await standing_v3.detail(session))["title"] == "Mine"
    assert (await done(standing_v3, "token.list"))["tokens"] == []
    assert (await done(standing_v3, "job.list", session=session))["jobs"] == []
    assert not (standing_v3.role.home / "config.toml").exists()


@pytest.mark.parametrize(
    ("id", "given", "field"),
    [
        ("session.create", {"colour": "red"}, "input.colour"),
        ("session.delete", {}, "input.session"),
        ("session.delete", {"session": "../access"}, "input.session"),
        ("session.list", {"limit": "5"}, "input.limit"),
        ("turn.submit", {"session": "s", "text": ""}, "input.text"),
        ("session.update", {"session": "s"}, "body"),
        ("config.change", {"limits": {"idle_seconds": 0}}, "input.limits.idle_seconds"),
    ],
)
async def test_an_input_that_the_schema_does_not_allow_is_refused_by_its_name(
    standing_v3: V3, id: str, given: dict[str, Any], field: str
):
    answer = await run(standing_v3, id, **given)
    assert (answer.status_code, answer.json()["field"]) == (400, field)


async def test_an_unknown_one_is_told_so(standing_v3: V3):
    for id in ("session.burn", "__class__", "session"):
        answer = await run(standing_v3, id)
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_operation")
    answer = await standing_v3.http.post("/v3/operations/session.list", json={"inputs": {}})
    assert (answer.status_code, answer.json()["field"]) == (400, "inputs")


@pytest.mark.parametrize("scope", ["read", "write"])
async def test_none_does_more_than_the_scope_of_its_caller(standing_v3: V3, session: str, scope: str):
    made = await done(standing_v3, "token.create", name="other", scope=scope, confirm=True)
    headers = {"Authorization": f"Bearer {made['token']}"}
    listed = (await standing_v3.http.get("/v3/operations", headers=headers)).json()["operations"]
    order = ["read", "write", "admin"]
    for each in listed:
        asked = {"input": {}, "confirm": True}
        answer = await standing_v3.http.post(f"/v3/operations/{each['id']}", json=asked, headers=headers)
        forbidden = answer.status_code == 403 and answer.json()["code"] == "forbidden"
        assert forbidden == (order.index(each["scope"]) > order.index(scope)), each["id"]
    await done(standing_v3, "token.revoke", token=made["id"], confirm=True)
    gone = await standing_v3.http.get("/v3/operations", headers=headers)
    assert gone.status_code == 401


async def test_a_provider_is_added_and_removed_with_its_key(standing_v3: V3, session: str):
    given = {"name": "cloud", "url": "https://x.example/v1", "kind": "anthropic"}
    home = standing_v3.role.home
    assert await done(standing_v3, "provider.add", **given, confirm=True) is None
    config = {each["key"]: each["value"] for each in (await done(standing_v3, "config.list"))["settings"]}
    assert config["providers.cloud.url"] == "https://x.example/v1"
    again = await run(standing_v3, "provider.add", **given, confirm=True)
    assert (again.status_code, again.json()["code"]) == (400, "invalid_config")
    clear = await run(standing_v3, "provider.add", name="b", url="http://x.example", confirm=True)
    assert "in the clear" in clear.json()["detail"]
    assert await done(standing_v3, "provider.remove", provider="cloud", confirm=True) is None
    gone = await run(standing_v3, "provider.remove", provider="cloud", confirm=True)
    assert (gone.status_code, "no provider 'cloud'" in gone.json()["detail"]) == (400, True)
    (home / "config.toml").unlink()


async def test_a_folder_is_trusted_and_no_longer(standing_v3: V3, tmp_path_factory: pytest.TempPathFactory):
    folder = str(tmp_path_factory.mktemp("work"))
    for trusted in (True, False):
        said = await done(standing_v3, "trust.decide", folder=folder, trusted=trusted, confirm=True)
        assert (said["folder"], said["trusted"]) == (folder, trusted)
        assert (await done(standing_v3, "trust.list"))["decisions"] == [said]
    for wrong in ("/", f"{folder}/none", f"/{'x' * 300}", "/a\0b"):
        refused = await run(standing_v3, "trust.decide", folder=wrong, trusted=True, confirm=True)
        assert (refused.status_code, refused.json()["field"]) in ((400, "folder"), (400, "input.folder"))


async def test_the_daemon_stops_by_its_operation(start_daemon: Callable[..., Role], connect: Any):
    role = start_daemon(lmx_url="http://127.0.0.1:1")
    answer = await run(connect(role), "daemon.stop", seconds=0, confirm=True)
    assert answer.status_code == 202
    assert role.process.wait(timeout=30) == 0
