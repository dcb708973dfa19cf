"""Commands that a model runs: what it is told of them, how long they may take, and what is left of them."""

import asyncio
import os
import re
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cli.tools import output
from cli.tools.output import HALF, Output, plain
from cli.tools.table import tools
from tests.processes import wait_until


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OPTA_HOME", str(tmp_path / "opta"))
    (tmp_path / "opta" / "daemon").mkdir(parents=True, mode=0o700)
    (tmp_path / "project").mkdir()
    return tmp_path / "project"


async def run(root: Path, command: str, **given: object) -> str:
    return await tools(root, "here")["run_command"](command=command, **given)


def alive(root: Path) -> list[str]:
    """The processes that are in the folder."""
    found = subprocess.run(["ps", "-A", "-o", "pid="], capture_output=True, text=True).stdout.split()
    return [pid for pid in found if inside(pid, root)]


def inside(pid: str, root: Path) -> bool:
    try:
        return Path(os.readlink(f"/proc/{pid}/cwd")).is_relative_to(root)
    except OSError:
        return False


async def test_a_command_runs_in_the_folder_and_says_how_it_ended(root: Path):
    said = await run(root, "pwd; echo oops >&2; echo hi > new; exit 3")
    assert re.fullmatch(rf"{root}\noops\n\(exit status 3, \d+\.\d s\)", said)
    assert (root / "new").read_text() == "hi\n"


async def test_both_outputs_come_in_their_order(root: Path):
    said = await run(root, "for n in 1 2 3; do echo out $n; echo err $n >&2; done")
    assert said.splitlines()[:-1] == [f"{name} {n}" for n in (1, 2, 3) for name in ("out", "err")]


async def test_it_writes_nowhere_else_and_reaches_nobody(root: Path):
    said = await run(root, "echo evil > ../evil; echo evil > /dev/tcp/127.0.0.1/9; cat ../opta/daemon/token")
    assert not (root.parent / "evil").exists()
    assert "exit status 1" in said


async def test_nothing_can_be_typed_and_no_terminal_is_there(root: Path):
    said = await run(root, 'read line; echo "<$line>"; test -t 0 || test -t 1 || echo none; echo $TERM')
    assert said.splitlines()[:-1] == ["<>", "none", "dumb"]


async def test_its_temporary_folder_is_its_own_and_goes(root: Path):
    said = await run(root, 'echo hi > "$TMPDIR/file"; echo "$TMPDIR"')
    assert not os.path.exists(said.splitlines()[0])  # noqa: ASYNC240 -- it takes an instant


async def test_it_sees_no_secret_of_the_environment(root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOME_API_KEY", "hush-4711")
    assert "hush-4711" not in await run(root, "env")


async def test_files_are_made_as_the_user_makes_them(root: Path):
    class Jobs:
        umask = 0o027

    await tools(root, "here", jobs=Jobs())["run_command"](command="touch new")
    assert (root / "new").stat().st_mode & 0o777 == 0o640


STRAYS = "sleep 612 & setsid sleep 612 & (trap '' TERM HUP; setsid nohup sleep 612 &) ; "


async def test_nothing_is_left_after_a_good_end(root: Path):
    said = await run(root, STRAYS + "echo done")
    assert said.startswith("done\n(exit status 0")
    assert alive(root) == []


async def test_one_that_takes_too_long_is_ended_with_all_it_started_and_what_it_said_is_kept(root: Path):
    began = time.monotonic()
    script = "trap '' TERM; echo begun; " + STRAYS + "while :; do sleep 1; done"
    said = await run(root, script, timeout_seconds=1)
    assert said == "begun\n(stopped: it took longer than 1 s)"
    assert time.monotonic() - began < 8
    assert alive(root) == []


async def test_one_that_is_cancelled_is_ended_with_all_it_started(root: Path):
    task = asyncio.create_task(run(root, "trap '' TERM; " + STRAYS + "touch ready; sleep 612"))
    await asyncio.to_thread(wait_until, (root / "ready").exists, "the command")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert alive(root) == []


async def test_eight_take_the_time_of_one(root: Path):
    alone = time.monotonic()
    await run(root, "sleep 0.5")
    alone = time.monotonic() - alone
    began = time.monotonic()
    await asyncio.gather(*(run(root, "sleep 0.5") for _ in range(8)))
    assert time.monotonic() - began < 4 * alone


async def test_a_long_output_is_cut_and_can_be_read_whole(root: Path):
    said = await run(root, "seq 1 20000")
    assert len(said.encode()) < 2 * HALF + 500
    assert said.startswith("1\n2\n") and "\n20000\n(exit status 0" in said
    path = re.search(r"path (\S+) …", said)[1]
    read = tools(root, "here")["read_file"]
    assert "15000\t15000" in read(path=path, first_line=15_000)
    assert (await asyncio.to_thread(Path(path).read_text)) == "".join(f"{n}\n" for n in range(1, 20_001))
    with pytest.raises(ValueError, match="outside"):
        tools(root, "another")["read_file"](path=path)


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        (b"\x1b[1;31mred\x1b[0m", "red"),
        (b"\x1b]0;title\x07text", "text"),
        (b"\x1b]8;;http://a\x1b\\link\x1b]8;;\x1b\\", "link"),
        (b" 10%\r 50%\r100%\ndone", "100%\ndone"),
        (b"a\r\nb\r\n", "a\nb\n"),
        (b"bell\x07 and\x00 nul", "bell and nul"),
        (b"\xff\xc3\xa9", "\ufffd\u00e9"),
    ],
)
def test_it_is_shown_as_a_person_would_have_seen_it(data: bytes, seen: str):
    assert plain(data) == seen


async def pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


@pytest.mark.parametrize("size", [1000, 16_000, 50_000, 200_000])
@pytest.mark.parametrize("length", [0, 10, 2 * HALF, 2 * HALF + 1, 100_000])
async def test_however_it_comes_the_beginning_the_end_and_the_whole_are_there(
    root: Path, size: int, length: int
):
    data = "".join(f"{n:07}\n" for n in range(length // 8 + 1)).encode()[:length]
    taken = Output("here")
    async for piece in pieces(data, size):
        await taken.add(piece)
    if length <= 2 * HALF:
        assert taken.file is None and taken.shown() == data.decode()
    else:
        assert taken.file.read_bytes() == data
        assert (bytes(taken.head), bytes(taken.tail)) == (data[:HALF], data[-HALF:])


async def test_outputs_of_long_ago_go(root: Path):
    old = output.folder("then") / "old.txt"
    old.parent.mkdir(parents=True)
    old.write_text("old")
    os.utime(old, (0, 0))
    await run(root, "seq 1 20000")
    assert not old.exists()


async def test_without_a_daemon_there_are_no_background_jobs(root: Path):
    with pytest.raises(ValueError, match="daemon"):
        await tools(root)["bg_start"](command="true")


@pytest.mark.linux
def test_this_system_can_tell_which_processes_are_in_a_folder(root: Path):
    with subprocess.Popen(["sleep", "613"], cwd=root) as sleeping:
        assert alive(root) == [str(sleeping.pid)]
        sleeping.kill()
