"""Each request extends the one before it, so that a server's kept prefix goes on holding."""

import asyncio
import json
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.cli.daemon.conftest import V3, body, kind, until
from tests.processes import Role
from tests.scripted import Answer, Scripted, Window, call, end, says, text

Start = Callable[..., Role]
Connect = Callable[[Role], V3]


def told_of(request: dict[str, Any]) -> bytes:
    """What a template makes its prompt of, in its order."""
    parts = [request.get("tools"), *request["messages"]]
    return b"".join(json.dumps(part).encode() for part in parts)


def calls(name: str, **arguments: Any) -> list[bytes]:
    """A word, and a call of a tool whose arguments are spaced as only this model does."""
    return [text("I look. "), call(name, json.dumps(arguments, indent=1), id=None), end("tool_calls")]


async def test_a_turn_with_tools_a_mode_and_a_restart_only_extend_the_prompt(
    start_daemon: Start, connect: Connect, model: Scripted, tmp_path: Path
):
    (tmp_path / "notes.txt").write_text('Line with ünïcode \u2028 and "quotes"\n' * 3)
    home = tmp_path / "home"
    v3 = connect(start_daemon(lmx_url=model.url, home=home))
    session = await v3.create(cwd=str(tmp_path), system="Be brief.")
    for number in range(1, 7):
        model.will(*calls("read_file", path="notes.txt", first_line=number))
    model.will(*calls("no_such_tool"))
    model.will(*calls("read_file", nothing="of the kind"))
    model.will(text("And once more."), call("read_file", '{"path": "notes.txt"}'), end("tool_calls"))
    model.will(*says("Done."))
    await v3.submit(session, "read it")
    seen = await v3.settled(session)
    assert (kind(seen[-1]), model.answers) == ("turn.done", [])

    model.will(*says("Second."))
    (await v3.http.patch(f"/v3/sessions/{session}", json={"mode": "plan"})).raise_for_status()
    await v3.submit(session, "and now?")
    await v3.settled(session, json.loads(seen[-1])["seq"])
    assert "mode is now plan" in model.requests[-1]["messages"][-1]["content"]

    v3.role.stop()
    again = connect(start_daemon(lmx_url=model.url, home=home))
    model.will(*calls("read_file", path="notes.txt"))
    model.will(*says("Third."))
    after = (await again.events(session))[-1]["seq"]
    await again.submit(session, "once more")
    await again.settled(session, after)

    assert len(model.requests) == 13
    prompts = [told_of(request) for request in model.requests]
    broken = [place for place, (one, next) in enumerate(pairwise(prompts)) if not next.startswith(one)]
    assert broken == []


async def test_every_mode_is_told_at_the_tail_and_only_when_it_changes(v3: V3, model: Scripted):
    session = await v3.create(mode="review")
    modes = ["review", None, "plan", "do", "research", "chat", None]
    after = 0
    for mode in modes:
        if mode:
            (await v3.http.patch(f"/v3/sessions/{session}", json={"mode": mode})).raise_for_status()
        model.will(*says("Yes."))
        await v3.submit(session, "go on")
        after = json.loads((await v3.settled(session, after))[-1])["seq"]
    said = [request["messages"][-1]["content"] for request in model.requests]
    told = [re.findall(r"mode is now (\w+)", words) for words in said]
    assert told == [[mode] if mode else [] for mode in modes]
    assert "change nothing" in said[2]
    prompts = [told_of(request) for request in model.requests]
    assert all(later.startswith(one) for one, later in pairwise(prompts))


async def test_a_fork_knows_the_mode_that_its_source_was_put_in_since(v3: V3, model: Scripted):
    model.will(*says("Yes."))
    session = await v3.create()
    await v3.submit(session, "one")
    seen = await v3.settled(session)
    (await v3.http.patch(f"/v3/sessions/{session}", json={"mode": "plan"})).raise_for_status()
    fork = (await v3.http.post(f"/v3/sessions/{session}/fork", json={})).raise_for_status().json()["id"]
    model.will(*says("Yes."))
    await v3.submit(fork, "two")
    await v3.settled(fork, json.loads(seen[-1])["seq"])
    assert "mode is now plan" in model.requests[-1]["messages"][-1]["content"]


async def test_a_mode_that_gave_way_to_a_summary_is_told_again(v3: V3, model: Scripted):
    model.window = Window(4096, lambda request: len(told_of(request)) // 3)
    model.improvise = lambda request: Answer(says("Noted."))
    session = await v3.create(mode="plan", tools=["read_file", "list_dir", "glob", "grep"])
    after, compacted = 0, []
    for words in ["a word and another " * 150] * 5 + ["short"]:
        await v3.submit(session, words)
        seen = await v3.settled(session, after)
        compacted.append("context.compacted" in map(kind, seen))
        after = json.loads(seen[-1])["seq"]
    asked = [request["messages"] for request in model.requests if "tools" in request]
    told = ["mode is now plan" in messages[-1]["content"] for messages in asked]
    assert told == [True, *compacted[:-1]]
    assert any(compacted)


async def test_a_reminder_of_a_turn_that_never_spoke_is_given_again(v3: V3, model: Scripted):
    session = await v3.create()
    (await v3.http.patch(f"/v3/sessions/{session}", json={"mode": "plan"})).raise_for_status()
    model.will(b"{}", status=500)
    model.will(*says("Yes."))
    model.will(*says("Still."))
    for words in ("one", "two", "three"):
        await v3.submit(session, words)
    await v3.settled(session, turns=3)
    said = [request["messages"][-1]["content"] for request in model.requests]
    assert ["mode is now plan" in words for words in said] == [True, True, False]
    assert told_of(model.requests[2]).startswith(told_of(model.requests[1]))


async def test_what_was_steered_with_stands_behind_what_was_read_before(v3: V3, model: Scripted):
    gate = asyncio.Event()
    model.will(text("One."), gate, end())
    model.will(*says("Two."))
    model.will(*says("Three."))
    session = await v3.create()
    turn = await v3.submit(session, "go")
    await until(v3.stream(session), "text.delta")
    answer = await v3.http.post(f"/v3/sessions/{session}/turns/{turn}/steer", json={"text": "to the left"})
    answer.raise_for_status()
    gate.set()
    seen = await v3.settled(session)
    await v3.submit(session, "and then?")
    await v3.settled(session, json.loads(seen[-1])["seq"])
    assert all(told_of(later).startswith(told_of(one)) for one, later in pairwise(model.requests))
    assert kind(seen[-1]) == "turn.done" and body(seen[-1])["text"]
