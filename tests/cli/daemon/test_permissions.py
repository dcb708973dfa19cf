"""Permission rules through a real daemon: kept, found in force, and asked about while a turn waits."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets

from cli import trust
from tests.cli.daemon.conftest import V3, body, kind, until
from tests.processes import Role
from tests.scripted import Scripted, call, end, says


class Project:
    """A session in a folder with notes, and the routes of rules."""

    def __init__(self, v3: V3, model: Scripted, session: str, folder: Path) -> None:
        self.v3, self.http, self.model, self.session, self.folder = v3, v3.http, model, session, folder

    async def add(self, action: str, pattern: str, scope: str = "session", **headers: str) -> httpx.Response:
        rule = {"action": action, "pattern": pattern, "scope": scope, "session": self.session}
        return await self.http.post("/v3/permissions/rules", json=rule, headers=headers)

    async def rules(self, session: str | None = None) -> list[dict[str, Any]]:
        query = {"session": session or self.session}
        answer = await self.http.get("/v3/permissions/rules", params=query)
        return answer.raise_for_status().json()["rules"]

    def will_read(self, *paths: str) -> None:
        for number, path in enumerate(paths):
            arguments = json.dumps({"path": path})
            self.model.will(call("read_file", arguments, id=f"call_{number}"), end("tool_calls"))
        self.model.will(*says("I see."))

    async def turn(self, *paths: str, **fields: Any) -> list[dict[str, Any]]:
        """The events of a turn in which the model reads these."""
        self.will_read(*paths)
        seq = (await self.v3.detail(self.session))["seq"]
        await self.v3.submit(self.session, "read", **fields)
        return [body(data) for data in await self.v3.settled(self.session, seq)]

    async def read(self, *paths: str, **fields: Any) -> list[tuple[bool, str]]:
        """What the model was told of each."""
        events = await self.turn(*paths, **fields)
        return [(each["ok"], each["result"]) for each in events if each["type"] == "tool.done"]

    async def asked(self, *paths: str) -> dict[str, Any]:
        """Submit a turn in which the model reads these; the permission request that it waits with."""
        self.will_read(*paths)
        seq = (await self.v3.detail(self.session))["seq"]
        await self.v3.submit(self.session, "read", interactive=True)
        seen = await until(
            self.v3.stream(self.session, seq), "permission.request", "turn.done", "turn.failed"
        )
        assert kind(seen[-1]) == "permission.request", seen[-1]
        return {**body(seen[-1]), "seq": json.loads(seen[-1])["seq"]}

    async def answer(self, request: str, decision: str, **fields: Any) -> httpx.Response:
        headers = fields.pop("headers", None)
        said = {"request": request, "decision": decision, **fields}
        return await self.http.post(f"/v3/sessions/{self.session}/permissions", json=said, headers=headers)

    async def results(self, after: int) -> list[tuple[bool, str]]:
        found = [body(data) for data in await self.v3.settled(self.session, after)]
        return [(each["ok"], each["result"]) for each in found if each["type"] == "tool.done"]


@pytest.fixture
async def project(
    standing_v3: V3, standing_model: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Project]:
    monkeypatch.setenv("OPTA_HOME", str(standing_v3.role.home))
    folder = tmp_path / "project"
    (folder / "secret").mkdir(parents=True)
    (folder / "notes").write_text("Buy milk.\n")
    (folder / "secret" / "key").write_text("hush\n")
    (folder / "link").symlink_to(folder / "secret")
    session = await standing_v3.create(cwd=str(folder))
    yield Project(standing_v3, standing_model, session, folder)
    user_file(standing_v3.role).unlink(missing_ok=True)


def user_file(role: Role) -> Path:
    return role.home / "permissions.json"


NOTES = (True, "1\tBuy milk.")


async def test_what_is_denied_is_not_read_and_the_model_is_told_by_which_rule(project: Project):
    await project.add("deny", "read_file(secret/**)")
    denied, through_link, notes = await project.read("secret/key", "link/key", "notes")
    assert notes == NOTES
    for ok, result in (denied, through_link):
        assert not ok and "hush" not in result
        assert "The session's rule says: deny read_file(secret/**)." in result


async def test_a_folder_that_holds_what_is_denied_is_not_searched(project: Project):
    await project.add("deny", "*(secret/**)")
    project.model.will(call("grep", '{"pattern": "hush"}'), end("tool_calls"))
    project.model.will(call("grep", '{"pattern": "milk", "path": "notes"}'), end("tool_calls"))
    project.model.will(*says("I see."))
    await project.v3.submit(project.session, "search")
    seen = [body(data) for data in await project.v3.settled(project.session)]
    first, second = [each["result"] for each in seen if each["type"] == "tool.done"]
    assert "deny *(secret/**)" in first and "hush" not in first
    assert second == "notes:1: Buy milk."


async def test_deny_wins_over_ask_and_ask_over_allow_wherever_they_stand(project: Project):
    trust.grant(project.folder)
    await project.add("allow", "read_file", "user")
    assert await project.read("notes") == [NOTES]
    await project.add("ask", "read_file(notes)", "project")
    ((ok, result),) = await project.read("notes")
    assert (ok, "nobody can be asked" in result, "project's rule" in result) == (False, True, True)
    await project.add("deny", "read_file(no*)", "session")
    ((ok, result),) = await project.read("notes")
    assert (ok, "session's rule" in result) == (False, True)


async def test_rules_are_kept_where_they_belong_and_taken_away(project: Project):
    trust.grant(project.folder)
    added = [
        await project.add("deny", f"read_file({scope})", scope) for scope in ("user", "project", "session")
    ]
    assert [answer.status_code for answer in added] == [201, 201, 201]
    assert (await project.add("deny", "read_file(user)", "user")).status_code == 200
    in_project = project.folder / ".opta" / "permissions.json"
    assert json.loads(in_project.read_text())["deny"] == ["read_file(project)"]
    mine = user_file(project.v3.role)
    assert (json.loads(mine.read_text())["deny"], mine.stat().st_mode & 0o777) == (["read_file(user)"], 0o600)
    assert [(rule["scope"], rule["where"]) for rule in await project.rules()] == [
        ("user", str(mine)),
        ("project", str(in_project)),
        ("session", project.session),
    ]
    kept = (await project.v3.detail(project.session))["rules"]
    assert kept == {"deny": ["read_file(session)"], "ask": [], "allow": []}
    fork = await project.http.post(f"/v3/sessions/{project.session}/fork", json={})
    assert len(await project.rules(fork.json()["id"])) == 3
    for answer in added:
        at = f"/v3/permissions/rules/{answer.json()['id']}"
        gone = await project.http.delete(at, params={"session": project.session})
        assert gone.status_code == 204
    assert await project.rules() == []
    assert gone.request.url.path and (await project.http.delete(at)).json()["code"] == "unknown_rule"


async def test_a_projects_rules_hold_only_where_it_is_trusted(project: Project):
    (project.folder / ".opta").mkdir()
    (project.folder / ".opta" / "permissions.json").write_text(
        '{"allow": ["*"], "deny": ["read_file(notes)"]}'
    )
    assert await project.rules() == []
    refused = await project.add("allow", "*", "project")
    trust.grant(project.folder)
    assert [rule["scope"] for rule in await project.rules()] == ["project", "project"]
    assert (await project.read("notes"))[0][0] is False
    trust.refuse(project.folder)
    assert await project.read("notes") == [NOTES]
    # There is a file, and its rules do not hold: a new one would not either.
    assert (refused.status_code, refused.json()["code"]) == (403, "untrusted")


async def test_a_file_of_rules_that_cannot_be_read_lets_nothing_run_and_is_left_as_it_is(project: Project):
    wrong = '{"deny": ["read_file(secret/**)"], "alow": []}'
    user_file(project.v3.role).write_text(wrong)
    failed = (await project.turn("notes"))[-1]
    project.model.answers.clear()
    assert (failed["type"], failed["code"]) == ("turn.failed", "bad_permissions")
    assert "permissions.json" in failed["message"] and "alow" in failed["message"]
    refused = await project.add("allow", "read_file", "user")
    assert (refused.status_code, refused.json()["code"]) == (409, "bad_permissions")
    assert user_file(project.v3.role).read_text() == wrong


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        ({"action": "permit", "pattern": "x", "scope": "user"}, "action"),
        ({"action": "allow", "pattern": "read_file(", "scope": "user"}, "pattern"),
        ({"action": "allow", "pattern": "", "scope": "user"}, "pattern"),
        ({"action": "allow", "pattern": "a b", "scope": "user"}, "pattern"),
        ({"action": "allow", "pattern": "x", "scope": "session"}, "body"),
        ({"action": "allow", "pattern": "x", "scope": "user", "why": "?"}, "why"),
    ],
)
async def test_what_is_no_rule_is_refused(project: Project, rule: dict[str, str], field: str):
    answer = await project.http.post("/v3/permissions/rules", json=rule)
    assert (answer.status_code, answer.json()["field"].split(".")[-1]) == (400, field)


async def test_a_mode_that_only_looks_still_reads(project: Project):
    await project.http.patch(f"/v3/sessions/{project.session}", json={"mode": "plan"})
    assert await project.read("notes") == [NOTES]


async def test_a_question_waits_for_the_first_answer_of_any_client(project: Project):
    await project.add("ask", "read_file")
    request = await project.asked("notes")
    assert (request["name"], request["arguments"]) == ("read_file", {"path": "notes"})
    assert request["pattern"] == f"read_file({project.folder}/notes)"
    waiting = (await project.http.get("/v3/permissions/requests", params={"session": project.session})).json()
    assert [each["id"] for each in waiting["requests"]] == [request["id"]]
    # Whoever connects later sees it as well.
    again = await until(project.v3.stream(project.session), "permission.request")
    assert body(again[-1])["id"] == request["id"]
    url = f"{project.v3.role.url.replace('http', 'ws')}/v3/ws"
    async with websockets.connect(url, additional_headers=project.v3.role.headers) as socket:
        said = {"request": request["id"], "decision": "allow"}
        about = {"id": "1", "type": "permission.resolve", "session": project.session, "body": said}
        await socket.send(json.dumps(about))
        assert json.loads(await socket.recv())["type"] == "ack"
    late = await project.answer(request["id"], "deny")
    assert (late.status_code, late.json()["code"]) == (404, "unknown_request")
    assert await project.results(request["seq"]) == [NOTES]
    told = [each["event"] for each in await project.v3.events(project.session)]
    (resolved,) = [each for each in told if each["type"] == "permission.resolved"]
    assert (resolved["decision"], resolved["by"]) == ("allow", "the daemon's own token")


async def test_of_many_answers_at_once_one_holds(project: Project):
    await project.add("ask", "read_file")
    request = await project.asked("notes")
    answers = [project.answer(request["id"], ("allow", "deny")[n % 2]) for n in range(10)]
    codes = [answer.status_code for answer in await asyncio.gather(*answers)]
    assert sorted(codes) == [204] + [404] * 9
    ((ok, _),) = await project.results(request["seq"])
    assert ok == (codes.index(204) % 2 == 0)


async def test_a_denial_is_told_to_the_model_in_the_words_of_whoever_gave_it(project: Project):
    await project.add("ask", "read_file")
    request = await project.asked("notes")
    await project.answer(request["id"], "deny", message="Read the other one.")
    ((ok, result),) = await project.results(request["seq"])
    assert (ok, result) == (False, "The user did not allow this call. Read the other one.")


async def test_an_answer_is_remembered_as_a_rule_for_exactly_this(project: Project):
    await project.add("ask", "list_dir")
    await project.add("ask", "read_file(secret/**)")
    request = await project.asked("secret/key")
    assert (await project.answer(request["id"], "deny", remember="session")).status_code == 204
    await project.results(request["seq"])
    kept = [rule for rule in await project.rules() if rule["action"] == "deny"]
    assert [(rule["pattern"], rule["scope"]) for rule in kept] == [(request["pattern"], "session")]
    ((ok, result),) = await project.read("secret/key", interactive=True)
    assert (ok, "rule says: deny" in result) == (False, True)


async def test_a_question_ends_with_its_turn(project: Project):
    await project.add("ask", "read_file")
    request = await project.asked("notes")
    await project.v3.cancel(project.session)
    project.model.answers.clear()
    assert (await project.answer(request["id"], "allow")).json()["code"] == "unknown_request"
    assert (await project.http.get("/v3/permissions/requests")).json()["requests"] == []
    ((ok, result),) = await project.results(request["seq"])
    assert (ok, "Not run" in result) == (False, True)


async def test_only_a_token_for_everything_changes_rules_and_is_remembered_always(project: Project):
    made = await project.http.post("/v3/access/tokens", json={"name": "some", "scope": "write"})
    headers = {"Authorization": f"Bearer {made.json()['token']}"}
    assert (await project.add("allow", "*", **headers)).status_code == 403
    await project.add("ask", "read_file")
    request = await project.asked("notes")
    refused = await project.answer(request["id"], "allow", remember="always", headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert (await project.answer(request["id"], "allow", headers=headers)).status_code == 204
    assert await project.results(request["seq"]) == [NOTES]


async def test_a_question_of_a_killed_daemon_leaves_a_valid_history(
    start_daemon: Callable[..., Role], model: Scripted, connect: Callable[[Role], V3], tmp_path: Path
):
    role = start_daemon(lmx_url=model.url)
    own = Project(connect(role), model, await connect(role).create(cwd=str(tmp_path)), tmp_path)
    await own.add("ask", "read_file")
    request = await own.asked("notes")
    role.kill()
    role.start("/v3/health")
    own.http.headers.update(role.headers)
    ((ok, result),) = await own.results(request["seq"])
    assert (ok, "Not run" in result) == (False, True)
    assert (await own.answer(request["id"], "allow")).json()["code"] == "unknown_request"
