"""`opta mcp serve`, asked by the protocol's own client."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters

from cli.clients.daemon import Address, Daemon
from cli.commands.mcp import make_server
from tests.cli.daemon.conftest import V3, kind, until
from tests.processes import ROOT, Role
from tests.scripted import Scripted, end, says, text


@pytest.fixture
def model(standing_model: Scripted) -> Scripted:
    return standing_model


@pytest.fixture
def v3(standing_v3: V3) -> V3:
    return standing_v3


def serving(role: Role, folder: Path) -> Client:
    env = {**os.environ, "OPTA_HOME": str(role.home), "PYTHONPATH": str(ROOT)}
    command = ["-P", "-m", "cli.main", "mcp", "serve"]
    return Client(StdioServerParameters(command=sys.executable, args=command, env=env, cwd=str(folder)))


async def test_a_program_starts_a_session_runs_a_turn_and_reads_it(v3: V3, model: Scripted, tmp_path: Path):
    async with serving(v3.role, tmp_path) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == {"list_sessions", "read_session", "start_session", "send_message", "cancel_turn"}
        started = await client.call_tool("start_session", {"cwd": str(tmp_path), "title": "From afar"})
        session = started.structured_content["id"]
        model.will(*says("Hel", "lo."))
        steps: list[tuple[float, str]] = []

        async def progress(done: float, total: float | None, message: str | None) -> None:
            steps.append((done, message or ""))

        answer = await client.call_tool(
            "send_message", {"session": session, "text": "say hello"}, progress_callback=progress
        )
        reply = answer.structured_content
        assert (reply["session"], reply["ending"], reply["text"]) == (session, "done", "Hello.")
        assert "auto answers" in [message for _, message in steps]
        assert "".join(message for _, message in steps).endswith("Hello.")
        assert [done for done, _ in steps] == sorted({done for done, _ in steps})
        listed = (await client.call_tool("list_sessions", {})).structured_content["result"]
        assert (listed[0]["id"], listed[0]["title"], listed[0]["turns"]) == (session, "From afar", 1)
        read = (await client.call_tool("read_session", {"session": session[:8]})).structured_content
        assert [message["content"] for message in read["messages"]] == ["say hello", "Hello."]


async def test_a_turn_is_cancelled_by_request_and_with_the_call_and_a_failure_is_told(
    v3: V3, model: Scripted
):
    async with Client(make_server(Daemon(lambda: Address(v3.role.url, v3.role.token)))) as client:
        session = await v3.create()
        model.will(text("Hel"), asyncio.Event())
        sending = asyncio.create_task(
            client.call_tool("send_message", {"session": session, "text": "say hello"})
        )
        await until(v3.stream(session), "text.delta")
        assert not (await client.call_tool("cancel_turn", {"session": session})).is_error
        reply: Any = (await sending).structured_content
        assert (reply["ending"], reply["text"]) == ("cancelled", "Hel")
        model.will(b'{"error": {"message": "no such model", "code": "model_not_found"}}', status=404)
        failed = await client.call_tool("send_message", {"session": session, "text": "again"})
        assert failed.is_error and "`opta models`" in failed.content[0].text
        unknown = await client.call_tool("read_session", {"session": "nowhere"})
        assert unknown.is_error and "no session 'nowhere'" in unknown.content[0].text
        foreign = await client.call_tool("list_sessions", {"limit": 5, "colour": "blue"})
        assert foreign.is_error and "colour" in foreign.content[0].text
        # Who no longer waits for the turn cancels it.
        model.will(text("Hel"), asyncio.Event(), end())
        seen = (await v3.detail(session))["seq"]
        sending = asyncio.create_task(client.call_tool("send_message", {"session": session, "text": "third"}))
        await until(v3.stream(session, seen), "text.delta")
        sending.cancel()
        assert kind((await v3.settled(session, seen))[-1]) == "turn.cancelled"
