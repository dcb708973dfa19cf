"""Editors: the protocol's own client beside the daemon's own API, on one live session."""

import asyncio
import os
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import acp
import pytest
import websockets
from acp import schema
from acp.exceptions import RequestError
from acp.ws.client import create_websocket_stream

from tests.cli.daemon.conftest import V3, body, kind, until
from tests.processes import ROOT, Role
from tests.scripted import Scripted, call, end, says, text


class Editor(acp.Client):
    """What an editor is told, in order."""

    def __init__(self) -> None:
        self.updates: list[Any] = []
        self.told = asyncio.Condition()
        # What it was asked to permit, and the option that its user chooses: one a request.
        self.asked: list[Any] = []
        self.chosen: asyncio.Queue[str] = asyncio.Queue()

    async def request_permission(self, options: Any, session_id: str, tool_call: Any, **_: Any) -> Any:
        async with self.told:
            self.asked.append((tool_call, [option.option_id for option in options]))
            self.told.notify_all()
        outcome = schema.AllowedOutcome(outcome="selected", option_id=await self.chosen.get())
        return schema.RequestPermissionResponse(outcome=outcome)

    async def session_update(self, session_id: str, update: Any, **_: Any) -> None:
        async with self.told:
            self.updates.append(update)
            self.told.notify_all()

    async def wait(self, enough: Callable[[], object]) -> None:
        """Until it was told enough."""
        async with asyncio.timeout(20), self.told:
            await self.told.wait_for(lambda: bool(enough()))

    def said(self, what: str = "agent_message_chunk") -> str:
        return "".join(each.content.text for each in self.updates if each.session_update == what)


@pytest.fixture
def model(standing_model: Scripted) -> Scripted:
    return standing_model


@pytest.fixture
def v3(standing_v3: V3) -> V3:
    return standing_v3


@pytest.fixture
async def edit() -> Any:
    """edit(role) is an editor at a daemon's WebSocket, and its connection."""
    async with AsyncExitStack() as stack:

        async def connecting(role: Role) -> tuple[Editor, Any]:
            url = f"{role.url.replace('http', 'ws')}/acp"
            editor = Editor()
            transport = await create_websocket_stream(url, headers=role.headers)
            connection = acp.connect_to_agent(editor, transport)
            stack.push_async_callback(connection.close)
            await connection.initialize(protocol_version=acp.PROTOCOL_VERSION)
            return editor, connection

        yield connecting


def blocks(words: str) -> list[Any]:
    return [acp.text_block(words)]


async def test_an_editor_and_a_websocket_client_watch_and_steer_one_session(
    v3: V3, model: Scripted, edit: Any, tmp_path: Path
):
    editor, agent = await edit(v3.role)
    session = (await agent.new_session(cwd=str(tmp_path))).session_id
    # The editor asks, the other client sees it and ends it.
    model.will(text("Hel"), asyncio.Event())
    asking = asyncio.create_task(agent.prompt(session_id=session, prompt=blocks("say hello")))
    seen = await until(v3.socket(session), "text.delta")
    assert body(seen[0])["text"] == "say hello"
    await editor.wait(lambda: editor.said() == "Hel")
    await v3.cancel(session)
    assert (await asking).stop_reason == "cancelled"
    # The other client asks, the editor sees it, adds to it and ends it.
    model.will(text("Bon"), asyncio.Event())
    await v3.submit(session, "say bonjour")
    await editor.wait(lambda: editor.said() == "HelBon")
    assert editor.said("user_message_chunk") == "say bonjour"
    await agent.ext_method("opta/steer", {"sessionId": session, "text": "in Paris"})
    await until(v3.socket(session), "turn.steered")
    await editor.wait(lambda: editor.said("user_message_chunk") == "say bonjourin Paris")
    await agent.cancel(session_id=session)
    assert kind((await v3.settled(session, turns=2))[-1]) == "turn.cancelled"


async def test_a_prompt_is_answered_after_its_last_word(v3: V3, model: Scripted, edit: Any, tmp_path: Path):
    editor, agent = await edit(v3.role)
    session = (await agent.new_session(cwd=str(tmp_path))).session_id
    model.will(*says("Hel", "lo."))
    answer = await agent.prompt(session_id=session, prompt=blocks("say hello"))
    assert editor.said() == "Hello."
    assert editor.said("user_message_chunk") == ""
    assert (answer.stop_reason, answer.usage.input_tokens, answer.usage.output_tokens) == ("end_turn", 3, 2)
    assert [m["content"] for m in (await v3.detail(session))["messages"]] == ["say hello", "Hello."]


async def test_a_tool_call_is_told_as_it_runs_and_when_it_is_done(
    v3: V3, model: Scripted, edit: Any, tmp_path: Path
):
    (tmp_path / "note.txt").write_text("42 is the answer")
    editor, agent = await edit(v3.role)
    session = (await agent.new_session(cwd=str(tmp_path))).session_id
    model.will(call("read_file", '{"path": "note.txt"}'), end("tool_calls"))
    model.will(call("read_file", '{"path": "none.txt"}'), end("tool_calls"))
    model.will(*says("42."))
    await agent.prompt(session_id=session, prompt=blocks("read the note"))
    started, done, again, failed = (each for each in editor.updates if "tool_call" in each.session_update)
    assert (started.title, started.kind, started.status) == ("read_file note.txt", "read", "in_progress")
    assert started.locations[0].path == str(tmp_path / "note.txt")
    assert (done.tool_call_id, done.status) == (started.tool_call_id, "completed")
    assert "42 is the answer" in done.content[0].content.text
    assert again.tool_call_id == failed.tool_call_id != started.tool_call_id
    assert (again.title, failed.status) == ("read_file none.txt", "failed")
    assert editor.said() == "42."


async def test_what_is_attached_to_a_prompt_is_in_its_text(
    v3: V3, model: Scripted, edit: Any, tmp_path: Path
):
    _, agent = await edit(v3.role)
    session = (await agent.new_session(cwd=str(tmp_path))).session_id
    model.will(*says("Yes."))
    link = acp.resource_link_block("a.py", "file:///a.py")
    file = acp.resource_block(acp.embedded_text_resource("file:///b.py", "b = 1"))
    await agent.prompt(session_id=session, prompt=[*blocks("Compare "), link, *blocks(" with "), file])
    assert model.requests[0]["messages"][-1]["content"] == (
        'Compare [@a.py](file:///a.py) with \n<context uri="file:///b.py">\nb = 1\n</context>\n'
    )
    with pytest.raises(RequestError, match="not image"):
        await agent.prompt(session_id=session, prompt=[acp.image_block("AAAA", "image/png")])
    with pytest.raises(RequestError, match="no text"):
        await agent.prompt(session_id=session, prompt=blocks("  "))


async def test_a_session_that_is_loaded_is_told_from_its_beginning_and_then_live(
    v3: V3, model: Scripted, edit: Any, tmp_path: Path
):
    session = await v3.create(cwd=str(tmp_path))
    gate = asyncio.Event()
    model.will(*says("One."))
    model.will(text("Tw"), gate, text("o."), end())
    await v3.submit(session, "first")
    await v3.settled(session)
    await v3.submit(session, "second")
    await until(v3.stream(session), "text.delta", times=2)
    editor, agent = await edit(v3.role)
    await agent.load_session(cwd=str(tmp_path), session_id=session)
    assert (editor.said("user_message_chunk"), editor.said()) == ("firstsecond", "One.Tw")
    gate.set()
    await editor.wait(lambda: editor.said() == "One.Two.")
    await agent.load_session(cwd=str(tmp_path), session_id=session)
    assert editor.said() == "One.Two.One.Two."


async def test_sessions_are_listed_by_folder_and_a_foreign_folder_is_refused(
    v3: V3, edit: Any, tmp_path: Path
):
    (tmp_path / "a").mkdir()
    session = await v3.create(cwd=str(tmp_path / "a"), title="A")
    other = await v3.create(cwd=str(tmp_path))
    _, agent = await edit(v3.role)
    listed = (await agent.list_sessions(cwd=str(tmp_path / "a"))).sessions
    assert [(each.session_id, each.title) for each in listed] == [(session, "A")]
    assert {session, other} <= {each.session_id for each in (await agent.list_sessions()).sessions}
    with pytest.raises(RequestError, match="works in"):
        await agent.load_session(cwd=str(tmp_path), session_id=session)
    with pytest.raises(RequestError, match="no session") as unknown:
        await agent.load_session(cwd=str(tmp_path), session_id="nowhere")
    assert unknown.value.code == -32002
    with pytest.raises(RequestError, match="not a folder"):
        await agent.new_session(cwd=str(tmp_path / "b"))


async def test_a_mode_is_stored_and_told_whoever_sets_it(v3: V3, edit: Any, tmp_path: Path):
    editor, agent = await edit(v3.role)
    made = await agent.new_session(cwd=str(tmp_path))
    assert made.modes.current_mode_id == "chat"
    assert "plan" in [mode.id for mode in made.modes.available_modes]
    await agent.set_session_mode(session_id=made.session_id, mode_id="plan")
    await editor.wait(lambda: [each.current_mode_id for each in editor.updates] == ["plan"])
    assert (await v3.detail(made.session_id))["mode"] == "plan"
    await v3.http.patch(f"/v3/sessions/{made.session_id}", json={"mode": "review", "title": "T"})
    await editor.wait(lambda: editor.updates[-1].session_update == "session_info_update")
    assert (editor.updates[-2].current_mode_id, editor.updates[-1].title) == ("review", "T")
    with pytest.raises(RequestError, match="no mode 'fly'"):
        await agent.set_session_mode(session_id=made.session_id, mode_id="fly")


async def test_a_turn_that_fails_is_an_error_to_who_asked_and_a_word_to_who_watches(
    v3: V3, model: Scripted, edit: Any, tmp_path: Path
):
    one, asks = await edit(v3.role)
    other, watches = await edit(v3.role)
    session = (await asks.new_session(cwd=str(tmp_path))).session_id
    await watches.load_session(cwd=str(tmp_path), session_id=session)
    model.will(b'{"error": {"message": "no such model", "code": "model_not_found"}}', status=404)
    with pytest.raises(RequestError, match="opta models") as failed:
        await asks.prompt(session_id=session, prompt=blocks("hello"))
    assert failed.value.data["code"] == "model_not_found"
    await other.wait(lambda: "opta models" in other.said())
    assert (one.said(), other.said("user_message_chunk")) == ("", "hello")


async def test_an_editors_mcp_servers_are_said_to_be_unused(
    v3: V3, model: Scripted, edit: Any, tmp_path: Path
):
    editor, agent = await edit(v3.role)
    server = schema.McpServerStdio(name="github", command="/bin/false", args=[], env=[])
    session = (await agent.new_session(cwd=str(tmp_path), mcp_servers=[server])).session_id
    model.will(*says("One."))
    model.will(*says("Two."))
    await agent.prompt(session_id=session, prompt=blocks("hello"))
    await agent.prompt(session_id=session, prompt=blocks("hello"))
    assert editor.said().count("github") == 1


async def test_an_editor_is_asked_and_whoever_answers_first_decides(
    v3: V3, model: Scripted, edit: Any, tmp_path: Path
):
    (tmp_path / "note.txt").write_text("42")
    editor, agent = await edit(v3.role)
    session = (await agent.new_session(cwd=str(tmp_path))).session_id
    rule = {"action": "ask", "pattern": "read_file", "scope": "session", "session": session}
    (await v3.http.post("/v3/permissions/rules", json=rule)).raise_for_status()

    async def reads(chosen: str) -> tuple[bool, str]:
        """What the model is told of a call, when the editor's user chooses so."""
        before = (await v3.detail(session))["seq"]
        model.will(call("read_file", '{"path": "note.txt"}'), end("tool_calls"))
        model.will(*says("Yes."))
        editor.chosen.put_nowait(chosen)
        await agent.prompt(session_id=session, prompt=blocks("read the note"))
        done = [each["event"] for each in await v3.events(session, before)]
        return next((each["ok"], each["result"]) for each in done if each["type"] == "tool.done")

    assert await reads("allow_once") == (True, "1\t42")
    assert await reads("reject_once") == (False, "The user did not allow this call.")
    tool_call, options = editor.asked[0]
    started = next(each for each in editor.updates if each.session_update == "tool_call")
    assert tool_call.tool_call_id == started.tool_call_id
    assert "allow_once" in options and "reject_once" in options

    # Another client is faster: the editor's answer comes too late, and decides nothing.
    model.will(call("read_file", '{"path": "note.txt"}'), end("tool_calls"))
    model.will(*says("Yes."))
    asking = asyncio.create_task(agent.prompt(session_id=session, prompt=blocks("once more")))
    await editor.wait(lambda: len(editor.asked) == 3)
    waiting = await v3.http.get("/v3/permissions/requests", params={"session": session})
    (open_,) = waiting.json()["requests"]
    said = {"request": open_["id"], "decision": "deny", "message": "Not now."}
    (await v3.http.post(f"/v3/sessions/{session}/permissions", json=said)).raise_for_status()
    await asking
    editor.chosen.put_nowait("allow_once")
    failed = [each for each in editor.updates if getattr(each, "status", "") == "failed"]
    assert "Not now." in failed[-1].content[0].content.text
    assert await reads("allow_once") == (True, "1\t42")


async def test_what_is_no_message_is_answered_and_the_connection_goes_on(v3: V3):
    url = f"{v3.role.url.replace('http', 'ws')}/acp"
    async with websockets.connect(url, additional_headers=v3.role.headers) as socket:
        for sent, code in [("{", -32700), ("[1]", -32600), ('{"id": 1, "method": "no/such"}', -32601)]:
            await socket.send(sent)
            assert f'"code":{code}' in await socket.recv()
        await socket.send(b"\x00")
        assert '"code":-32700' in await socket.recv()
        await socket.send('{"id": 2, "method": "session/prompt", "params": {"prompt": "x"}}')
        assert '"code":-32602' in await socket.recv()


async def test_the_command_joins_an_editors_pipes_to_the_daemon(v3: V3, model: Scripted, tmp_path: Path):
    editor = Editor()
    env = {**os.environ, "OPTA_HOME": str(v3.role.home), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-P", "-m", "cli.main", "acp"]
    async with acp.spawn_agent_process(editor, *command, env=env, cwd=tmp_path) as (agent, process):
        await agent.initialize(protocol_version=acp.PROTOCOL_VERSION)
        session = (await agent.new_session(cwd=str(tmp_path))).session_id
        model.will(*says("Zeile\u2028eins."))
        answer = await agent.prompt(session_id=session, prompt=blocks("two\nlines"))
        assert (answer.stop_reason, editor.said()) == ("end_turn", "Zeile\u2028eins.")
        # Another client's turn comes down the same pipe.
        model.will(*says("Live."))
        await v3.submit(session, "from elsewhere")
        await editor.wait(lambda: editor.said().endswith("Live."))
    assert process.returncode == 0


async def test_the_command_says_so_when_the_daemon_goes(
    start_daemon: Callable[..., Role], model: Scripted, tmp_path: Path
):
    editor = Editor()
    daemon = start_daemon(lmx_url=model.url)
    env = {**os.environ, "OPTA_HOME": str(daemon.home), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-P", "-m", "cli.main", "acp"]
    async with acp.spawn_agent_process(editor, *command, env=env, cwd=tmp_path) as (agent, process):
        await agent.initialize(protocol_version=acp.PROTOCOL_VERSION)
        session = (await agent.new_session(cwd=str(tmp_path))).session_id
        model.will(text("Hel"), asyncio.Event())
        asking = asyncio.create_task(agent.prompt(session_id=session, prompt=blocks("hello")))
        await editor.wait(lambda: editor.said() == "Hel")
        await asyncio.to_thread(daemon.stop)
        with pytest.raises(RequestError, match="daemon was stopped"):
            await asking
        assert await process.wait() == 5
        assert b"The daemon ended the connection." in await process.stderr.read()


async def test_a_prompt_that_waits_is_answered_when_the_daemon_is_replaced(
    start_daemon: Callable[..., Role],
    connect: Callable[[Role], V3],
    model: Scripted,
    edit: Any,
    tmp_path: Path,
):
    role = start_daemon(lmx_url=model.url)
    v3, (_, agent) = connect(role), await edit(role)
    session = (await agent.new_session(cwd=str(tmp_path))).session_id
    model.will(text("Hel"), asyncio.Event())
    await v3.submit(session, "first")
    asking = asyncio.create_task(agent.prompt(session_id=session, prompt=blocks("second")))
    await until(v3.stream(session), "turn.queued", times=2)
    await v3.http.post("/v3/handoff", json={"seconds": 0})
    with pytest.raises(RequestError, match="is being replaced"):
        await asking
    assert await asyncio.to_thread(role.process.wait, 10) == 0
