"""Calls that land, through a real daemon: from text, repaired, written again, and stopped in circles."""

import json
from pathlib import Path
from typing import Any

from tests.cli.daemon.conftest import V3, body, kind
from tests.scripted import Scripted, call, end, says


def of(seen: list[str], *kinds: str) -> list[dict[str, Any]]:
    return [body(data) for data in seen if kind(data) in kinds]


async def test_a_call_in_text_is_run_and_neither_shown_nor_kept_as_text(
    v3: V3, model: Scripted, tmp_path: Path
):
    (tmp_path / "notes.txt").write_text("Buy milk.\n")
    written = '<tool_call>\n{"name": "read_file", "arguments": {"path": "notes.txt"}}\n</tool_call>'
    model.will(*says("I look.\n\n", *written))
    model.will(*says("Milk."))
    session = await v3.create(cwd=str(tmp_path))
    await v3.submit(session, "what do I need?")
    seen = await v3.settled(session)
    assert "".join(each["text"] for each in of(seen, "text.delta")) == "I look.Milk."
    assert [each["text"] for each in of(seen, "text.done")] == ["I look.", "Milk."]
    assert of(seen, "tool.done")[0]["result"] == "1\tBuy milk."
    said, result = model.requests[1]["messages"][-2:]
    assert (said["content"], said["tool_calls"][0]["function"]) == (
        "I look.",
        {"name": "read_file", "arguments": '{"path": "notes.txt"}'},
    )
    assert result["tool_call_id"] == said["tool_calls"][0]["id"]
    kept = (await v3.detail(session))["messages"]
    assert [each["content"] for each in kept] == ["what do I need?", "I look.", "1\tBuy milk.", "Milk."]


async def test_a_call_that_does_not_fit_is_asked_for_under_its_schema_with_the_same_prompt(
    v3: V3, model: Scripted, tmp_path: Path
):
    model.will(call("read_file", '{"file": "a"}'), end("tool_calls"))
    model.will(call("read_file", '{"path": "a", "lines": "2"}'), end("tool_calls"))
    model.will(*says("There is none."))
    session = await v3.create(cwd=str(tmp_path))
    await v3.submit(session, "read a")
    seen = await v3.settled(session)
    assert [each["arguments"] for each in of(seen, "tool.started")] == [{"path": "a", "lines": 2}]
    first, again, _ = model.requests
    assert again.pop("tool_choice") == {"type": "function", "function": {"name": "read_file"}}
    assert again == first


async def test_a_model_in_circles_ends_as_stopped_and_the_session_goes_on(
    v3: V3, model: Scripted, tmp_path: Path
):
    for number in range(3):
        model.will(call("list_dir", "{}", id=f"call_{number}"), end("tool_calls"))
    model.will(*says("Nothing is there."))
    session = await v3.create(cwd=str(tmp_path))
    await v3.submit(session, "what is here?")
    seen = await v3.settled(session)
    (stopped,) = of(seen, "turn.stopped")
    assert stopped["reason"] == "loop"
    assert "list_dir" in stopped["message"]
    assert stopped["hint"]
    await v3.submit(session, "so?")
    after = await v3.settled(session, json.loads(seen[-1])["seq"])
    assert kind(after[-1]) == "turn.done"
    told = model.requests[-1]["messages"]
    calls = [each["id"] for message in told for each in message.get("tool_calls", ())]
    assert [message["tool_call_id"] for message in told if message["role"] == "tool"] == calls


async def test_no_call_reads_outside_of_the_sessions_folder(v3: V3, model: Scripted, tmp_path: Path):
    (tmp_path / "secret").write_text("not yours")
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "link").symlink_to(tmp_path / "secret")
    for path in ("../secret", str(tmp_path / "secret"), "link"):
        model.will(call("read_file", json.dumps({"path": path})), end("tool_calls"))
    model.will(*says("I cannot."))
    session = await v3.create(cwd=str(tmp_path / "project"))
    await v3.submit(session, "read the secret")
    results = of(await v3.settled(session), "tool.done")
    assert [result["ok"] for result in results] == [False] * 3
    assert all("outside of the working directory" in result["result"] for result in results)
