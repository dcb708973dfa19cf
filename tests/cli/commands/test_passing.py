"""What passes before an answer, on a terminal and not on one."""

import asyncio
import json
from typing import Any

import pytest

from tests.cli.commands.conftest import Shell
from tests.cli.commands.terminal import expect, terminal
from tests.scripted import Answer, Scripted, Window, chunk, says


def thought(text: str) -> bytes:
    delta = {"reasoning_content": text}
    return chunk(choices=[{"index": 0, "delta": delta, "finish_reason": None}])


@pytest.fixture
def opta(scripted_opta: Shell) -> Shell:
    return scripted_opta


async def test_a_person_sees_how_far_it_is_read_and_what_is_thought(opta: Shell, model: Scripted):
    for words, start in ((["chat"], "hello\r"), (["do", "hello"], "")):
        read, thinking = asyncio.Event(), asyncio.Event()
        model.will(
            b": reading 512/2000\n\n", read, thought("Let me "), thought("greet."), thinking, *says("Hi.")
        )
        with terminal(opta, *words) as screen:
            if start:
                await expect(screen, "/help")
                screen.type(start)
            await expect(screen, "reading 512/2000 tokens")
            read.set()
            await expect(screen, "Let me greet.")
            thinking.set()
            await expect(screen, "Hi.")


async def test_a_person_sees_that_what_no_longer_fits_is_shortened(opta: Shell, model: Scripted):
    def tokens(request: dict[str, Any]) -> int:
        return len(json.dumps([request["messages"], request.get("tools")])) // 4

    model.window = Window(4096, tokens)
    model.improvise = lambda request: Answer(says("Noted." if "tools" in request else "In short."))
    long = "a word that stands for many " * 120
    started = await asyncio.to_thread(opta, "do", "--json", long)
    session = json.loads(started.stdout.splitlines()[0])["session"]
    await asyncio.to_thread(opta, "do", "-s", session, long)
    with terminal(opta, "do", "-s", session, long * 2) as screen:
        await expect(screen, "shortening the conversation to fit the window 0/1")
        await expect(screen, "shortened what was said before, to fit the window")
        await expect(screen, "Noted.")


async def test_a_pipe_gets_the_answer_alone(opta: Shell, model: Scripted):
    model.will(b": reading 512/2000\n\n", thought("Let me greet."), *says("Hi."))
    done = await asyncio.to_thread(opta, "do", "hello")
    assert (done.returncode, done.stdout, done.stderr) == (0, "Hi.\n", "")
