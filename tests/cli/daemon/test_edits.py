"""Files changed through a real daemon: somebody is asked, and only what is allowed is done."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.daemon.conftest import ENDINGS, V3, body, kind, until
from tests.scripted import Scripted, call, end, says

TEXT = "one\r\ntwo\r\n"
EDIT = ("edit_file", {"path": "notes", "old_text": "two", "new_text": "2"})
PATCH = ("apply_patch", {"patch": "*** Begin Patch\n*** Update File: notes\n@@\n-two\n+2\n*** End Patch"})


class Desk:
    """A session in a folder with notes, and a model that changes them."""

    def __init__(self, v3: V3, model: Scripted, folder: Path) -> None:
        self.v3, self.model, self.folder, self.session = v3, model, folder, ""

    async def open(self, **fields: Any) -> None:
        self.session = await self.v3.create(cwd=str(self.folder), **fields)

    async def turn(self, *calls: tuple[str, dict[str, Any]], decision: str = "", **fields: Any) -> list[Any]:
        """The events of a turn with these calls, each in an answer of its own; who is asked decides so."""
        for name, given in calls:
            self.model.will(call(name, json.dumps(given)), end("tool_calls"))
        self.model.will(*says("Done."))
        after = before = (await self.v3.detail(self.session))["seq"]
        await self.v3.submit(self.session, "go", interactive=bool(decision), **fields)
        while decision:
            seen = await until(self.v3.stream(self.session, after), "permission.request", *ENDINGS)
            if kind(seen[-1]) in ENDINGS:
                break
            asked, after = body(seen[-1]), json.loads(seen[-1])["seq"]
            said = {"request": asked["id"], "decision": decision}
            answer = await self.v3.http.post(f"/v3/sessions/{self.session}/permissions", json=said)
            answer.raise_for_status()
        return [body(data) for data in await self.v3.settled(self.session, before)]

    def notes(self) -> str:
        return (self.folder / "notes").read_bytes().decode()


@pytest.fixture
def desk(standing_v3: V3, standing_model: Scripted, tmp_path: Path) -> Desk:
    (tmp_path / "notes").write_bytes(TEXT.encode())
    return Desk(standing_v3, standing_model, tmp_path)


def kinds(events: list[Any], type: str) -> list[Any]:
    return [event for event in events if event["type"] == type]


@pytest.mark.parametrize("change", [EDIT, PATCH])
async def test_what_is_allowed_is_changed(desk: Desk, change: tuple[str, dict[str, Any]]):
    await desk.open()
    events = await desk.turn(("read_file", {"path": "notes"}), change, decision="allow")
    assert [each["name"] for each in kinds(events, "permission.request")] == [change[0]]
    assert [each["ok"] for each in kinds(events, "tool.done")] == [True, True]
    assert kinds(events, "tool.done")[1]["result"].endswith("-two\n+2")
    assert desk.notes() == "one\r\n2\r\n"


@pytest.mark.parametrize("change", [EDIT, PATCH])
async def test_what_is_denied_stays_as_it_is(desk: Desk, change: tuple[str, dict[str, Any]]):
    await desk.open()
    events = await desk.turn(change, decision="deny")
    (done,) = kinds(events, "tool.done")
    assert (done["ok"], desk.notes()) == (False, TEXT)


async def test_without_anybody_to_ask_a_rule_must_allow_it(desk: Desk):
    await desk.open()
    (done,) = kinds(await desk.turn(EDIT), "tool.done")
    assert not done["ok"] and "nobody can be asked" in done["result"] and desk.notes() == TEXT
    rule = {"action": "allow", "pattern": "*_file(notes)", "scope": "session", "session": desk.session}
    (await desk.v3.http.post("/v3/permissions/rules", json=rule)).raise_for_status()
    elsewhere = ("move_file", {"path": "notes", "to": "other"})
    *_, edited, moved = kinds(await desk.turn(EDIT, elsewhere), "tool.done")
    assert (edited["ok"], moved["ok"], desk.notes()) == (True, False, "one\r\n2\r\n")


async def test_in_plan_mode_nothing_is_changed_and_nobody_asked(desk: Desk):
    await desk.open(mode="plan")
    made = ("write_file", {"path": "new", "content": "x"})
    gone = ("delete_file", {"path": "notes"})
    events = [
        *await desk.turn(EDIT, PATCH, decision="allow"),
        *await desk.turn(made, gone, decision="allow"),
    ]
    assert kinds(events, "permission.request") == []
    assert [each["ok"] for each in kinds(events, "tool.done")] == [False] * 4
    assert all("nothing is changed" in each["result"] for each in kinds(events, "tool.done"))
    assert (desk.notes(), [file.name for file in desk.folder.iterdir()]) == (TEXT, ["notes"])


async def test_what_was_read_in_a_turn_before_is_known_and_what_changed_since_is_told(desk: Desk):
    await desk.open()
    await desk.turn(("read_file", {"path": "notes"}))
    whole = ("write_file", {"path": "notes", "content": "all\n"})
    (desk.folder / "notes").write_bytes(b"one\r\n2 by hand\r\n")
    *_, done = kinds(await desk.turn(whole, decision="allow"), "tool.done")
    assert not done["ok"] and "-two\n+2 by hand" in done["result"]
    *_, done = kinds(await desk.turn(whole, decision="allow"), "tool.done")
    assert (done["ok"], desk.notes()) == (True, "all\r\n")
