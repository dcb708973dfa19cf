"""A person at `opta chat` is asked before a tool runs, and answers with one key."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.cli.commands.conftest import Shell
from tests.cli.commands.terminal import Terminal, expect, terminal
from tests.scripted import Scripted, call, end, says


@pytest.fixture
async def opta(scripted_opta: Shell) -> Shell:
    (scripted_opta.folder / "notes.txt").write_text("buy milk\n")
    (scripted_opta.folder / "diary.txt").write_text("slept well\n")
    await asyncio.to_thread(scripted_opta, "permissions", "add", "ask", "read_file")
    return scripted_opta


def reads(model: Scripted, *names: str) -> None:
    """The model reads these files one after the other, and then says that it has."""
    for number, name in enumerate(names):
        model.will(call("read_file", json.dumps({"path": name}), id=f"call_{number}"), end("tool_calls"))
    model.will(*says("I have read."))


def results(model: Scripted) -> list[str]:
    return [said["content"] for said in model.requests[-1]["messages"] if said["role"] == "tool"]


@asynccontextmanager
async def chatting(opta: Shell) -> AsyncIterator[Terminal]:
    with terminal(opta, "chat") as screen:
        await expect(screen, "/help")
        screen.type("read them\r")
        yield screen


async def test_one_key_allows_a_call_and_another_refuses_the_next(opta: Shell, model: Scripted):
    reads(model, "notes.txt", "diary.txt")
    async with chatting(opta) as screen:
        asked = await expect(screen, "n no")
        assert '? read_file path="notes.txt"' in asked
        assert "y yes, once" in asked
        screen.type("y")
        await expect(screen, "· allowed")
        await expect(screen, '? read_file path="diary.txt"')
        await expect(screen, "n no")
        screen.type("xn")  # a key that is no answer is none
        await expect(screen, "· not allowed")
        await expect(screen, "I have read.")
    one, other = results(model)
    assert "buy milk" in one
    assert "did not allow" in other


async def test_another_client_may_answer_first(opta: Shell, model: Scripted):
    reads(model, "notes.txt")
    async with chatting(opta) as screen:
        await expect(screen, "n no")
        (request,) = json.loads((await asyncio.to_thread(opta, "permissions", "requests", "--json")).stdout)
        answered = await asyncio.to_thread(opta, "permissions", "answer", request["id"], "allow")
        assert answered.returncode == 0
        await expect(screen, "· allowed")
        await expect(screen, "I have read.")
        screen.type("/exit\r")  # the keyboard is the prompt's again
        assert await asyncio.to_thread(screen.wait) == 0


async def test_ctrl_c_at_a_question_cancels_the_turn(opta: Shell, model: Scripted):
    reads(model, "notes.txt")
    async with chatting(opta) as screen:
        await expect(screen, "n no")
        screen.type("\x03")
        await expect(screen, "Cancelled.")
        screen.type("/exit\r")
        assert await asyncio.to_thread(screen.wait) == 0


async def test_where_nobody_can_be_asked_the_call_is_refused_at_once(opta: Shell, model: Scripted):
    reads(model, "notes.txt")
    done = await asyncio.to_thread(opta, "do", "read it")
    assert (done.returncode, done.stdout) == (0, "I have read.\n")
    assert "nobody can be asked" in results(model)[0]
