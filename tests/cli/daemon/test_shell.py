"""Commands through a real daemon: asked for, run in the sandbox, cancelled with all they started."""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cli import trust
from tests.cli.daemon.conftest import V3, body, kind, until
from tests.processes import wait_until
from tests.scripted import Scripted, call, end, says


class Workshop:
    """A session in a folder, in which the model calls tools that run commands."""

    def __init__(self, v3: V3, model: Scripted, session: str, folder: Path) -> None:
        self.v3, self.model, self.session, self.folder = v3, model, session, folder

    async def seq(self) -> int:
        return (await self.v3.detail(self.session))["seq"]

    async def submit(self, tool: str, *, interactive: bool = False, **given: Any) -> None:
        self.model.will(call(tool, json.dumps(given)), end("tool_calls"))
        self.model.will(*says("I see."))
        await self.v3.submit(self.session, "run it", interactive=interactive)

    async def use(self, tool: str, **given: Any) -> tuple[bool, str]:
        """What the model is told of a call that a rule allows, or that nobody can be asked for."""
        after = await self.seq()
        await self.submit(tool, **given)
        return self.result(await self.v3.settled(self.session, after))

    async def asked(self, tool: str, decision: str, **given: Any) -> tuple[bool, str]:
        """What the model is told once the user has answered."""
        after = await self.seq()
        await self.submit(tool, interactive=True, **given)
        seen = await until(self.v3.stream(self.session, after), "permission.request", "turn.done")
        assert kind(seen[-1]) == "permission.request", seen[-1]
        answer = {"request": body(seen[-1])["id"], "decision": decision}
        path = f"/v3/sessions/{self.session}/permissions"
        (await self.v3.http.post(path, json=answer)).raise_for_status()
        return self.result(await self.v3.settled(self.session, after))

    async def allow(self, pattern: str) -> None:
        rule = {"action": "allow", "pattern": pattern, "scope": "session", "session": self.session}
        (await self.v3.http.post("/v3/permissions/rules", json=rule)).raise_for_status()

    def result(self, events: list[str]) -> tuple[bool, str]:
        (done,) = [each for each in map(body, events) if each["type"] == "tool.done"]
        return done["ok"], done["result"]

    def alive(self) -> list[str]:
        """The processes that are in the folder."""
        found = []
        for each in Path("/proc").glob("[0-9]*"):
            try:
                if Path(os.readlink(each / "cwd")).is_relative_to(self.folder):
                    found.append(each.name)
            except OSError:
                continue
        return found


@pytest.fixture
async def shop(
    standing_v3: V3, standing_model: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Workshop]:
    monkeypatch.setenv("OPTA_HOME", str(standing_v3.role.home))
    folder = tmp_path / "project"
    folder.mkdir()
    trust.grant(folder)
    yield Workshop(standing_v3, standing_model, await standing_v3.create(cwd=str(folder)), folder)


async def test_a_command_that_was_allowed_runs_in_the_sandbox(shop: Workshop):
    token = shop.v3.role.home / "daemon" / "token"
    line = f"echo hi > new; cat new; cat {token}; echo evil > ../evil; kill -9 {shop.v3.role.pid}"
    ok, said = await shop.asked("run_command", "allow", command=line)
    assert ok and said.startswith("hi\n")
    assert shop.v3.role.token not in said
    assert (shop.folder / "new").exists() and not (shop.folder.parent / "evil").exists()
    assert not shop.v3.role.ended


async def test_one_that_was_denied_does_not_run(shop: Workshop):
    ok, said = await shop.asked("run_command", "deny", command="touch new")
    assert not ok and "did not allow" in said
    assert not (shop.folder / "new").exists()


async def test_where_nobody_can_be_asked_it_does_not_run(shop: Workshop):
    ok, said = await shop.use("run_command", command="touch new")
    assert not ok and "nobody can be asked" in said
    assert not (shop.folder / "new").exists()


@pytest.mark.parametrize("mode", ["plan", "review", "research"])
async def test_a_mode_that_only_looks_runs_nothing_that_changes(shop: Workshop, mode: str):
    change = await shop.v3.http.patch(f"/v3/sessions/{shop.session}", json={"mode": mode})
    change.raise_for_status()
    await shop.allow("run_command(touch *)")
    ok, _ = await shop.use("run_command", command="touch new")
    assert not ok and not (shop.folder / "new").exists()


async def test_a_rule_for_a_command_does_not_let_it_reach_the_network(shop: Workshop):
    await shop.allow("run_command(touch *)")
    ok, said = await shop.use("run_command", command="touch new", network=True)
    assert not ok and "network" in said
    assert not (shop.folder / "new").exists()
    assert (await shop.use("run_command", command="touch new"))[0]
    assert (await shop.asked("run_command", "allow", command="touch more", network=True))[0]
    assert (shop.folder / "more").exists()


async def test_a_turn_that_is_cancelled_ends_its_command_with_all_it_started(shop: Workshop):
    await shop.allow("run_command")
    (shop.folder / "work").write_text(
        "setsid sleep 614 &\ntrap '' TERM\ntouch ready\nwhile :; do sleep 1; done\n"
    )
    await shop.submit("run_command", command="bash work")
    await asyncio.to_thread(wait_until, (shop.folder / "ready").exists, "the command")
    assert shop.alive()
    await shop.v3.cancel(shop.session)
    assert shop.alive() == []


async def test_a_long_output_is_read_in_the_next_call(shop: Workshop):
    await shop.allow("run_command")
    _, said = await shop.use("run_command", command="seq 1 20000")
    path = re.search(r"path (\S+) …", said)[1]
    assert "19999\t19999" in (await shop.use("read_file", path=path, first_line=19_999))[1]


async def test_a_job_goes_on_in_the_sandbox_between_turns_until_it_is_ended(shop: Workshop):
    await shop.allow("bg_start")
    await shop.allow("bg_kill")
    (shop.folder / "serve").write_text(
        'echo hi; echo evil > ../evil; echo hi > "$TMPDIR/mine" && echo made\nsetsid sleep 615 &\nsleep 615\n'
    )
    ok, said = await shop.use("bg_start", command="bash serve")
    job = re.search(r"Job (\S+) runs", said)[1]
    assert ok
    wrote = ""
    while "made" not in wrote:
        wrote = (await shop.use("bg_output", job=job, wait_seconds=5))[1]
    assert wrote.startswith("hi\n") and "Permission denied" in wrote
    assert not (shop.folder.parent / "evil").exists()
    assert f"Job {job} runs: bash serve" in (await shop.use("bg_status"))[1]
    ok, said = await shop.use("bg_kill", job=job)
    assert ok and f"Job {job} exited with status 143" in said
    assert shop.alive() == []
    listed = (await shop.v3.http.get("/v3/background", params={"session": shop.session})).json()["jobs"]
    assert [each["command"] for each in listed] == [["bash", "-c", "bash serve"]]


async def test_a_job_of_another_session_is_out_of_reach(shop: Workshop):
    await shop.allow("bg_start")
    await shop.allow("bg_kill")
    said = (await shop.use("bg_start", command="sleep 616"))[1]
    job = re.search(r"Job (\S+) runs", said)[1]
    other = Workshop(shop.v3, shop.model, await shop.v3.create(cwd=str(shop.folder)), shop.folder)
    await other.allow("bg_kill")
    for tool in ("bg_status", "bg_output", "bg_kill"):
        ok, said = await other.use(tool, job=job)
        assert not ok and "There is no job" in said
    assert (await shop.use("bg_kill", job=job))[0]
