"""The window of a session's model, through the daemon: compacted, said, kept over a restart, and shown."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cli.daemon.conftest import V3, body, kind
from tests.processes import Role
from tests.scripted import Answer, Scripted, Window, call, end, says, text

Start = Callable[..., Role]
Connect = Callable[[Role], V3]


def tokens(request: dict[str, Any]) -> int:
    return len(json.dumps([request["messages"], request.get("tools")], ensure_ascii=False).encode()) // 3


async def ask(v3: V3, session: str, words: str) -> list[str]:
    after = (await v3.events(session) or [{"seq": 0}])[-1]["seq"]
    await v3.submit(session, words)
    return await v3.settled(session, after)


async def context(v3: V3, session: str) -> dict[str, Any]:
    return (await v3.http.get(f"/v3/sessions/{session}/context")).raise_for_status().json()


async def test_a_long_turn_is_compacted_said_and_told_the_same_after_a_restart(
    start_daemon: Start, connect: Connect, model: Scripted, tmp_path: Path
):
    (tmp_path / "long.txt").write_text("".join(f"{n} is a line of this file\n" for n in range(300)))
    home = tmp_path / "home"
    model.window = Window(8192, tokens)
    v3 = connect(start_daemon(lmx_url=model.url, home=home))
    session = await v3.create(cwd=str(tmp_path), tools=["read_file", "list_dir", "glob", "grep"])
    for number in range(1, 7):
        reading = call("read_file", json.dumps({"path": "long.txt", "first_line": number}), id=None)
        model.will(text("Next."), reading, end("tool_calls", 4000))
    model.improvise = lambda request: Answer(says("The notes."))
    seen = await ask(v3, session, "Read the file from many places.")
    assert kind(seen[-1]) == "turn.done"
    facts = [body(data) for data in seen if kind(data) == "context.compacted"]
    assert facts and all(fact["after"] < fact["before"] and fact["exact"] for fact in facts)
    told = [request for request in model.requests if "tools" in request]
    assert all(tokens(request) < 8192 * 7 // 8 for request in told)
    # What the model no longer sees is there for who looks.
    assert (await v3.detail(session))["messages"][2]["content"].count("\n") >= 299

    before = await context(v3, session)
    v3.role.stop()
    again = connect(start_daemon(lmx_url=model.url, home=home))
    assert await context(again, session) == before
    await ask(again, session, "And?")
    one, other = (request["messages"] for request in (told[-1], model.requests[-1]))
    assert other[: len(one)] == one


async def test_the_parts_of_a_window_add_up(v3: V3, model: Scripted):
    model.window = Window(8192, tokens)
    model.will(*says("Hello."))
    session = await v3.create(system="Be brief.", instructions="Speak like a sailor.")
    await ask(v3, session, "hi")
    shown = await context(v3, session)
    parts = {part["name"]: part["tokens"] for part in shown["parts"]}
    assert (shown["window"], shown["told"], shown["exact"], shown["left_out"]) == (8192, True, True, 0)
    assert sum(parts.values()) == shown["used"]
    assert shown["used"] + shown["reserve"] + shown["free"] == 8192
    assert parts["tools"] > parts["instructions"] > 0
    assert parts["results"] == parts["summary"] == 0
    without = await context(v3, await v3.create(tools=[]))
    assert {part["name"]: part["tokens"] for part in without["parts"]}["tools"] == 0


async def test_a_session_that_is_not_there_has_no_window(v3: V3):
    assert (await v3.http.get("/v3/sessions/nobody/context")).status_code == 404


async def test_instructions_are_those_of_trusted_folders_alone(
    start_daemon: Start, connect: Connect, model: Scripted, tmp_path: Path
):
    project = tmp_path / "project"
    (project / "part" / ".opta").mkdir(parents=True)
    (tmp_path / "secret").write_text("not for the prompt")
    (project / "AGENTS.md").write_text("Use tabs.")
    (project / "OPTA.md").symlink_to(tmp_path / "secret")
    (project / "part" / ".opta" / "style.md").write_text("Use spaces here.")
    home = tmp_path / "home"
    v3 = connect(start_daemon(lmx_url=model.url, home=home))
    stranger = await v3.detail(await v3.create(cwd=str(project / "part")))
    assert stranger["instructions"] == ""
    trust(v3.role, project)
    own = (await v3.detail(await v3.create(cwd=str(project / "part"))))["system"]
    assert own.index("Use tabs.") < own.index("Use spaces here.")
    assert "not for the prompt" not in own


def trust(role: Role, folder: Path) -> None:
    """As `opta trust` does, for the daemon's home."""
    command = [sys.executable, "-m", "cli.main", "trust", str(folder)]
    subprocess.run(command, check=True, env={**os.environ, **role.env}, capture_output=True)


async def test_the_server_keeps_what_it_has_read(
    start_daemon: Start, connect: Connect, lmx: Role, tmp_path: Path
):
    v3 = connect(start_daemon(lmx_url=lmx.url))
    session = await v3.create(system="Be brief. " * 30)
    cached: list[int] = []
    prompts: list[int] = []
    for words in ("say hello", "and again", "and once more"):
        usage = body((await ask(v3, session, words))[-1])["usage"]
        cached.append(usage["cached_tokens"])
        prompts.append(usage["prompt_tokens"])
    assert prompts == sorted(prompts)
    # All of the last request but what is computed anew: its last tokens, where the answer began.
    assert all(later >= 0.8 * earlier for earlier, later in zip(prompts, cached[1:], strict=False))
