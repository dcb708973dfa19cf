"""Two versions of `opta`: the newer one replaces the daemon, the older never does, and chats go on."""

import asyncio
import json
import shutil
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.cli.commands.conftest import Shell
from tests.processes import ROOT, wait_until
from tests.scripted import Scripted, end, says, scripted, text


@pytest.fixture
async def model() -> AsyncIterator[Scripted]:
    async with scripted() as script:
        yield script


@pytest.fixture
def older(model: Scripted, make_shell: Callable[[str], Shell]) -> Shell:
    """`opta` as it stands here."""
    return make_shell(model.url)


@pytest.fixture
def newer(older: Shell, tmp_path: Path) -> Iterator[Shell]:
    """A copy that was installed later, with the same home."""
    for package in ("cli", "opta"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "opta" / "version.py").write_text('"""Another version."""\n\nVERSION = "99.1"\n')
    yield Shell(older.home, older.folder, {**older.env, "PYTHONPATH": str(tmp_path)})
    older("daemon", "stop")


def queued(shell: Shell, session: str) -> int:
    """How many turns of a session were submitted by now."""
    url = json.loads((shell.daemon_files / "state.json").read_text())["port"]
    headers = {"Authorization": f"Bearer {(shell.daemon_files / 'token').read_text()}"}
    found = httpx.get(f"http://127.0.0.1:{url}/v3/sessions/{session}/events", headers=headers).json()
    return sum(event["event"]["type"] == "turn.queued" for event in found["events"])


async def start(shell: Shell, *words: str) -> asyncio.subprocess.Process:
    pipes = {"stdin": PIPE, "stdout": PIPE, "stderr": PIPE}
    return await asyncio.create_subprocess_exec(
        *shell.command(*words), env=shell.env, cwd=shell.folder, **pipes
    )


async def test_chats_go_on_in_the_daemon_that_a_newer_opta_starts(
    older: Shell, newer: Shell, model: Scripted
):
    gate = asyncio.Event()
    model.will(text("One"), gate, text(" and a half."), end())
    model.will(*says("Two."))
    model.will(*says("Three."))
    chat = await start(older, "chat")
    assert chat.stdin and chat.stdout
    chat.stdin.write(b"first\nthird\n")
    assert await chat.stdout.readexactly(3) == b"One"
    session = (await asyncio.to_thread(older.sessions))[0]["id"]
    once = await start(older, "do", "-s", session, "second")
    once.stdin.close()
    await asyncio.to_thread(wait_until, lambda: queued(older, session) == 2, "the second to wait")

    replacing = asyncio.create_task(asyncio.to_thread(newer, "sessions"))
    log = older.daemon_files / "daemon.log"
    await asyncio.to_thread(wait_until, lambda: "makes room" in log.read_text(), "the daemon to be asked")
    gate.set()
    assert ((await replacing).returncode, (await replacing).stderr) == (0, "")
    assert await once.communicate() == (b"Two.\n", b"")
    chat.stdin.close()
    assert await chat.communicate() == (b" and a half.\nThree.\n", b"")
    assert (once.returncode, chat.returncode, len(model.requests)) == (0, 0, 3)

    now = await asyncio.to_thread(older.json, "daemon", "status")
    assert now["version"] == "99.1"
    refused = await asyncio.to_thread(older, "daemon", "restart")
    assert refused.returncode == 1
    assert "Update this opta to 99.1" in refused.stderr
    assert (await asyncio.to_thread(older.json, "daemon", "status"))["pid"] == now["pid"]


def test_an_older_opta_says_what_to_do_about_a_daemon_that_it_does_not_understand(older: Shell, newer: Shell):
    events = Path(newer.env["PYTHONPATH"]) / "cli" / "protocol" / "events.py"
    events.write_text(events.read_text().replace("VERSION = 1", "VERSION = 2"))
    older("daemon", "start")
    assert newer("sessions").returncode == 0
    done = older("sessions")
    assert done.returncode == 5
    assert "speaks protocol 2, this opta 1. Update this opta to 99.1" in done.stderr
    assert older.json("daemon", "status")["version"] == "99.1"
