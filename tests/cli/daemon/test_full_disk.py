"""A disk that takes no more: nothing is half done, nobody waits for ever, and then all goes on."""

import asyncio
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from cli import trust
from tests.cli.daemon.conftest import V3, body, kind, until
from tests.processes import Role, wait_until
from tests.scripted import Scripted, end, text


@contextmanager
def full_disk(role: Role) -> Iterator[None]:
    """The daemon's files grow no more."""
    size = (role.home / "daemon" / "daemon.sqlite3-wal").stat().st_size
    _, most = resource.prlimit(role.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(role.pid, resource.RLIMIT_FSIZE, (size, most))
    yield
    resource.prlimit(role.pid, resource.RLIMIT_FSIZE, (most, most))


async def test_a_disk_that_takes_no_more_refuses_the_submit_and_leaves_nothing_half_done(
    v3: V3, model: Scripted
):
    session = await v3.create()
    with full_disk(v3.role):
        answer = await v3.http.post(f"/v3/sessions/{session}/turns", json={"text": "x" * 100_000})
        assert answer.status_code in (503, 507)
        assert answer.json()["code"] in ("storage_failed", "storage_full")
    assert (await v3.events(session), model.requests) == ([], [])
    model.will(text("ok"), end())
    await v3.submit(session, "now")
    assert kind((await v3.settled(session))[-1]) == "turn.done"


def ended(v3: V3, session: str) -> bool:
    answer = httpx.get(f"{v3.role.url}/v3/sessions/{session}", headers=v3.role.headers)
    return answer.json()["active"] is None


async def test_a_turn_whose_end_the_disk_refuses_ends_when_it_can(v3: V3, model: Scripted):
    gate = asyncio.Event()
    model.will(text("Half"), gate, text("x" * 300_000), end())
    session = await v3.create()
    await v3.submit(session, "hi")
    await until(v3.stream(session), "text.delta")
    said = v3.role.log.read_text
    with full_disk(v3.role):
        gate.set()
        await asyncio.to_thread(wait_until, lambda: "cannot end" in said(), "the daemon to say so", 10)
        with pytest.raises(httpx.HTTPStatusError) as refused:  # nobody waits for what does not come
            await v3.settled(session)
        assert refused.value.response.status_code in (503, 507)
    await asyncio.to_thread(wait_until, lambda: ended(v3, session), "the turn to end", 10)
    seen = await v3.settled(session)
    assert (kind(seen[-1]), body(seen[-1])["code"]) == ("turn.failed", "storage_failed")


async def test_a_job_whose_output_the_disk_refuses_waits_and_loses_nothing(
    v3: V3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OPTA_HOME", str(v3.role.home))
    trust.grant(tmp_path)
    line = "until test -e go; do sleep 0.02; done; head -c 300000 /dev/zero | tr '\\0' x; touch written"
    start = {"session": await v3.create(cwd=str(tmp_path)), "line": line}
    job = (await v3.http.post("/v3/background", json=start)).raise_for_status().json()
    keeper = psutil.Process(job["pid"]).parent()
    assert keeper
    _, most = resource.prlimit(keeper.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(keeper.pid, resource.RLIMIT_FSIZE, (50_000, most))
    (tmp_path / "go").touch()
    output = v3.role.home / "daemon" / "jobs" / job["id"] / "output.0"
    await asyncio.to_thread(wait_until, output.exists, "the job to write")
    await asyncio.to_thread(wait_until, lambda: output.stat().st_size == 50_000, "the disk to be full")
    assert not (tmp_path / "written").exists()
    resource.prlimit(keeper.pid, resource.RLIMIT_FSIZE, (most, most))
    ended = (await v3.http.get(f"/v3/background/{job['id']}", params={"wait": 20})).json()
    assert (ended["status"], ended["code"], output.stat().st_size) == ("exited", 0, 300_000)
