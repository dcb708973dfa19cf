"""Tools of MCP servers: in trusted folders alone, started again when they went, told of in the same bytes."""

import json
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.cli.daemon import notes_server
from tests.cli.daemon.conftest import V3, body, kind
from tests.cli.daemon.test_context import trust
from tests.cli.daemon.test_prefix import told_of
from tests.processes import Role
from tests.scripted import Scripted, call, end, says

Start = Callable[..., Role]
Connect = Callable[[Role], V3]


class Project:
    """A folder that names one server; `offers` is what that has when it starts next."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / ".opta" / "mcp.json"
        self.file.parent.mkdir(parents=True)
        self.tools = folder / "offered"
        program = {"command": sys.executable, "args": [notes_server.__file__, str(self.tools)]}
        self.file.write_text(json.dumps({"mcpServers": {"notes": program}}))

    def offers(self, *names: str) -> None:
        self.tools.write_text("\n".join(names))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path / "project")
    made.offers("echo", "refuse", "die")
    return made


async def ask(v3: V3, model: Scripted, session: str, name: str, /, **arguments: Any) -> dict[str, Any]:
    """A turn in which the model calls one tool; its result."""
    after = (await v3.events(session) or [{"seq": 0}])[-1]["seq"]
    model.will(call(name, json.dumps(arguments), id=None), end("tool_calls"))
    model.will(*says("I see."))
    await v3.submit(session, f"use {name}")
    seen = await v3.settled(session, after)
    assert kind(seen[-1]) == "turn.done"
    (done,) = [body(data) for data in seen if kind(data) == "tool.done"]
    return done


def listed(request: dict[str, Any]) -> list[str]:
    return [tool["function"]["name"] for tool in request["tools"]]


async def test_a_server_goes_comes_and_changes_and_every_request_extends_the_last(
    start_daemon: Start, connect: Connect, model: Scripted, project: Project, tmp_path: Path
):
    home = tmp_path / "home"
    v3 = connect(start_daemon(lmx_url=model.url, home=home))
    trust(v3.role, project.folder)
    # So few that those of the server are listed as well.
    few = ["read_file", *(f"mcp__notes__{name}" for name in ("echo", "refuse", "die", "translate"))]
    session = await v3.create(cwd=str(project.folder), tools=few)
    done = await ask(v3, model, session, "mcp__notes__echo", word="a")
    assert (done["ok"], done["result"]) == (True, "a, a")
    names = listed(model.requests[0])
    assert names[-5:] == [
        "mcp__notes__echo",
        "mcp__notes__refuse",
        "mcp__notes__die",
        "tool_search",
        "call_tool",
    ]

    gone = await ask(v3, model, session, "mcp__notes__die")
    assert (gone["ok"], "how far it came is not known" in gone["result"]) == (False, True)
    assert (await ask(v3, model, session, "mcp__notes__echo", word="b"))["result"] == "b, b"

    project.offers("die", "translate")
    await ask(v3, model, session, "mcp__notes__die")
    assert "is away" in (await ask(v3, model, session, "mcp__notes__echo", word="c"))["result"]
    found = await ask(v3, model, session, "tool_search", query="translate a word")
    assert "mcp__notes__translate" in found["result"]
    inner = {"name": "mcp__notes__translate", "arguments": {"word": "abc"}}
    done = await ask(v3, model, session, "call_tool", **inner)
    assert (done["name"], done["result"]) == ("mcp__notes__translate", "cba")

    project.file.rename(project.file.with_suffix(".off"))
    assert "is away" in (await ask(v3, model, session, "mcp__notes__die"))["result"]

    v3.role.stop()
    project.file.with_suffix(".off").rename(project.file)
    project.offers("echo", "translate")
    again = connect(start_daemon(lmx_url=model.url, home=home))
    assert (await ask(again, model, session, "mcp__notes__echo", word="d"))["result"] == "d, d"

    assert len(model.requests) == 18
    prompts = [told_of(request) for request in model.requests]
    assert all(later.startswith(one) for one, later in pairwise(prompts))


async def test_a_project_that_is_not_trusted_has_no_servers(
    standing_v3: V3, standing_model: Scripted, project: Project
):
    session = await standing_v3.create(cwd=str(project.folder))
    done = await ask(standing_v3, standing_model, session, "mcp__notes__echo", word="a")
    assert "There is no tool 'mcp__notes__echo'" in done["result"]
    assert not any(name.startswith("mcp__") for name in listed(standing_model.requests[-1]))


async def test_what_a_tool_of_a_server_would_change_is_not_changed_unasked(
    standing_v3: V3, standing_model: Scripted, project: Project
):
    trust(standing_v3.role, project.folder)
    session = await standing_v3.create(cwd=str(project.folder))
    done = await ask(standing_v3, standing_model, session, "mcp__notes__refuse")
    assert (done["ok"], "not today" in done["result"]) == (False, False)
    rule = {"scope": "session", "session": session, "action": "allow", "pattern": "mcp__notes__*"}
    (await standing_v3.http.post("/v3/permissions/rules", json=rule)).raise_for_status()
    done = await ask(standing_v3, standing_model, session, "mcp__notes__refuse")
    assert (done["ok"], "not today" in done["result"]) == (False, True)


@pytest.mark.parametrize(
    "program", [{"command": "no-such-program"}, {"command": sys.executable, "args": ["-c", ""]}]
)
async def test_a_server_that_does_not_start_keeps_no_turn_from_its_end(
    standing_v3: V3, standing_model: Scripted, project: Project, program: dict[str, Any]
):
    project.file.write_text(json.dumps({"mcpServers": {"notes": program}}))
    trust(standing_v3.role, project.folder)
    session = await standing_v3.create(cwd=str(project.folder))
    assert (
        "There is no tool"
        in (await ask(standing_v3, standing_model, session, "mcp__notes__echo", word="a"))["result"]
    )
    log = (standing_v3.role.home / "daemon" / "daemon.log", standing_v3.role.log)
    assert any("MCP server notes" in file.read_text() for file in log if file.exists())


async def test_to_read_what_fills_a_context_starts_no_server(
    standing_v3: V3, standing_model: Scripted, project: Project
):
    trust(standing_v3.role, project.folder)
    session = await standing_v3.create(cwd=str(project.folder))
    await ask(standing_v3, standing_model, session, "mcp__notes__echo", word="a")
    program = {"command": sys.executable, "args": ["-c", "open('ran', 'w')"]}
    project.file.write_text(json.dumps({"mcpServers": {"notes": program}}))
    context = (await standing_v3.http.get(f"/v3/sessions/{session}/context")).raise_for_status().json()
    assert context["parts"]
    assert not (project.folder / "ran").exists()
