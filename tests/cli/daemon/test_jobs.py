"""Background jobs over HTTP: real commands under a real daemon, which is stopped and killed meanwhile."""

import asyncio
import os
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from cli import trust
from tests.cli.daemon.conftest import V3, body, until
from tests.processes import Role, wait_until


class Jobs:
    """The routes of background jobs, about one session in a folder that is trusted."""

    def __init__(self, v3: V3, session: str, folder: Path) -> None:
        self.v3, self.http, self.session, self.folder = v3, v3.http, session, folder

    async def ask(self, **fields: Any) -> httpx.Response:
        return await self.http.post("/v3/background", json={"session": self.session, **fields})

    async def start(self, line: str, **fields: Any) -> dict[str, Any]:
        return (await self.ask(line=line, **fields)).raise_for_status().json()

    async def get(self, id: str, **query: Any) -> dict[str, Any]:
        return (await self.http.get(f"/v3/background/{id}", params=query)).raise_for_status().json()

    async def ended(self, id: str) -> dict[str, Any]:
        job = await self.get(id, wait=20)
        assert job["status"] != "running"
        return job

    async def output(self, id: str, **query: Any) -> dict[str, Any]:
        answer = await self.http.get(f"/v3/background/{id}/output", params=query)
        return answer.raise_for_status().json()

    async def text(self, id: str) -> str:
        await self.ended(id)
        return (await self.output(id))["text"]

    async def says(self, id: str, word: str) -> None:
        """Wait until the job has written so much as the word."""
        assert word in (await self.output(id, wait=20))["text"]

    async def signal(self, id: str, name: str) -> httpx.Response:
        return await self.http.post(f"/v3/background/{id}/signal", json={"signal": name})


async def opened(v3: V3, folder: Path, monkeypatch: pytest.MonkeyPatch, *, trusted: bool = True) -> Jobs:
    monkeypatch.setenv("OPTA_HOME", str(v3.role.home))
    if trusted:
        trust.grant(folder)
    return Jobs(v3, await v3.create(cwd=str(folder)), folder)


@pytest.fixture
async def jobs(standing_v3: V3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Jobs]:
    """Of a daemon that all tests here share, and a session of the test's own."""
    jobs = await opened(standing_v3, tmp_path, monkeypatch)
    yield jobs
    await jobs.http.delete(f"/v3/sessions/{jobs.session}")


@pytest.fixture
async def own(
    start_daemon: Callable[..., Role],
    connect: Callable[[Role], V3],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Jobs:
    """Of a daemon that the test may stop and kill."""
    folder = tmp_path / "project"
    folder.mkdir()
    return await opened(connect(start_daemon(lmx_url="http://127.0.0.1:1")), folder, monkeypatch)


def gone(pid: int) -> bool:
    """A process that nobody has waited for is gone as well."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def test_it_runs_a_command_and_keeps_what_it_writes_and_how_it_ends(jobs: Jobs):
    started = await jobs.start("echo out; echo err >&2; pwd; exit 3", label="three")
    assert (started["status"], started["label"], started["code"]) == ("running", "three", None)
    ended = await jobs.ended(started["id"])
    assert (ended["status"], ended["code"], ended["signal"]) == ("exited", 3, None)
    page = await jobs.output(started["id"])
    assert page["text"] == f"out\nerr\n{jobs.folder}\n"
    assert (page["start"], page["next"], page["more"]) == (0, len(page["text"]), False)


async def test_a_program_gets_its_arguments_as_they_are(jobs: Jobs):
    answer = await jobs.ask(command=["printf", "%s|", "a b", "$HOME", "; exit 1"])
    assert await jobs.text(answer.json()["id"]) == "a b|$HOME|; exit 1|"


async def test_it_runs_in_a_folder_of_the_session_with_what_is_added_to_its_environment(jobs: Jobs):
    (jobs.folder / "inner").mkdir()
    job = await jobs.start(
        'pwd; echo "$WORD ${DJANGO_SETTINGS_MODULE-none}"; umask', cwd="inner", env={"WORD": "added"}
    )
    umask = os.umask(0o022)
    os.umask(umask)
    assert await jobs.text(job["id"]) == f"{jobs.folder}/inner\nadded none\n{umask:04o}\n"
    assert "added" not in str(await jobs.get(job["id"])).replace(job["command"][-1], "")


async def test_output_is_read_on_from_a_byte_and_awaited(jobs: Jobs):
    job = await jobs.start("echo one; until test -e go; do sleep 0.02; done; printf 'zwö'")
    first = await jobs.output(job["id"], wait=20)
    assert first["text"] == "one\n"
    (jobs.folder / "go").touch()
    text, page = "", first
    while page["job"]["status"] == "running" or page["more"]:
        page = await jobs.output(job["id"], after=page["next"], wait=20, limit=2)
        text += page["text"]
    assert text == "zwö"
    beyond = await jobs.http.get(f"/v3/background/{job['id']}/output", params={"after": 99})
    assert (beyond.status_code, beyond.json()["field"]) == (400, "after")


async def test_of_endless_output_the_last_part_is_kept_in_files_of_the_users_alone(jobs: Jobs):
    job = await jobs.start("i=0; head -c 20000000 /dev/zero | tr '\\0' x; echo; echo end")
    await jobs.ended(job["id"])
    folder = jobs.v3.role.home / "daemon" / "jobs" / job["id"]
    files = list(folder.glob("output.*"))
    assert sum(file.stat().st_size for file in files) <= 8_000_000
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700
    page = await jobs.output(job["id"])
    assert page["start"] > 0 and page["more"] and set(page["text"]) == {"x"}
    assert (await jobs.output(job["id"], after=19_999_999))["text"] == "x\nend\n"


@pytest.mark.parametrize(("name", "said"), [("term", "SIGTERM"), ("kill", "SIGKILL"), ("hup", "SIGHUP")])
async def test_a_signal_ends_the_whole_group(jobs: Jobs, name: str, said: str):
    job = await jobs.start("sleep 99 & echo $! $$; wait")
    pids = (await jobs.output(job["id"], wait=20))["text"].split()
    assert (await jobs.signal(job["id"], name)).status_code == 200
    assert (await jobs.ended(job["id"]))["signal"] == said
    wait_until(lambda: all(gone(int(pid)) for pid in pids), "both processes")
    again = await jobs.signal(job["id"], name)
    assert (again.status_code, again.json()["code"]) == (409, "conflict")


async def test_what_a_command_leaves_running_ends_with_it(jobs: Jobs):
    job = await jobs.start("sleep 99 & echo $!")
    child = int(await jobs.text(job["id"]))
    wait_until(lambda: gone(child), "what it left")


async def test_a_job_is_removed_with_its_files_once_it_has_ended(jobs: Jobs):
    job = await jobs.start("echo here; sleep 99")
    await jobs.says(job["id"], "here")
    at = f"/v3/background/{job['id']}"
    refused = await jobs.http.delete(at)
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    await jobs.signal(job["id"], "kill")
    await jobs.ended(job["id"])
    assert (await jobs.http.delete(at)).status_code == 204
    assert (await jobs.http.get(at)).json()["code"] == "unknown_job"
    assert not (jobs.v3.role.home / "daemon" / "jobs" / job["id"]).exists()


async def test_the_jobs_of_a_session_are_listed_and_end_when_it_is_deleted(jobs: Jobs):
    first, second = await jobs.start("exit 0"), await jobs.start("sleep 99")
    await jobs.ended(first["id"])
    mine = {"session": jobs.session}
    listed = (await jobs.http.get("/v3/background", params=mine)).json()["jobs"]
    assert [job["id"] for job in listed] == [second["id"], first["id"]]
    running = (await jobs.http.get("/v3/background", params={**mine, "status": "running"})).json()["jobs"]
    assert [job["id"] for job in running] == [second["id"]]
    assert (await jobs.http.delete(f"/v3/sessions/{jobs.session}")).status_code == 204
    assert gone(second["pid"])
    assert (await jobs.http.get("/v3/background", params=mine)).json()["jobs"] == []
    assert not (jobs.v3.role.home / "daemon" / "jobs" / second["id"]).exists()


async def test_a_start_that_is_repeated_runs_once(jobs: Jobs):
    first = await jobs.ask(line="echo x >> ran", id=f"{jobs.session}-j")
    await jobs.ended(first.json()["id"])
    again = await jobs.ask(line="echo x >> ran", id=f"{jobs.session}-j")
    assert (first.status_code, again.status_code) == (201, 200)
    assert (jobs.folder / "ran").read_text() == "x\n"
    other = await jobs.ask(line="echo y", id=f"{jobs.session}-j")
    assert (other.status_code, other.json()["field"]) == (409, "id")


async def test_those_who_follow_the_session_are_told(jobs: Jobs):
    stream = jobs.v3.stream(jobs.session)
    following = asyncio.create_task(until(stream, "job.ended"))
    job = await jobs.start("echo one; sleep 0.3; echo two; exit 5")
    seen = [body(data) for data in await following]
    assert [each["type"] for each in seen] == ["job.started", "job.output", "job.ended"]
    assert {each["id"] for each in seen} == {job["id"]}
    assert (seen[1]["next"], "one" in str(seen[1])) == (4, False)
    assert (seen[2]["status"], seen[2]["code"], seen[2]["next"]) == ("exited", 5, 8)


async def test_what_a_job_says_keeps_no_turn_from_being_submitted(jobs: Jobs):
    seen = (await jobs.v3.detail(jobs.session))["seq"]
    job = await jobs.start("true")
    await jobs.ended(job["id"])
    answer = await jobs.http.post(
        f"/v3/sessions/{jobs.session}/turns", json={"text": "hello", "last_seen_seq": seen}
    )
    assert answer.status_code == 202
    await jobs.v3.cancel(jobs.session)


@pytest.mark.parametrize(
    ("fields", "status", "word"),
    [
        ({}, 400, "command or line"),
        ({"line": "true", "command": ["true"]}, 400, "command or line"),
        ({"command": []}, 400, "command"),
        ({"command": ["there-is-no-such-program"]}, 400, "No such file"),
        ({"command": ["a\0b"]}, 400, "command"),
        ({"line": "true", "cwd": ".."}, 400, "outside"),
        ({"line": "true", "cwd": "/"}, 400, "outside"),
        ({"line": "true", "cwd": "link"}, 400, "outside"),
        ({"line": "true", "cwd": "nowhere"}, 400, "nowhere"),
        ({"line": "true", "env": {"A=B": "c"}}, 400, "env"),
        ({"line": "true", "shell": "zsh"}, 400, "shell"),
        ({"line": "true", "session": "nobody"}, 404, "nobody"),
    ],
)
async def test_what_cannot_be_run_is_refused(jobs: Jobs, fields: dict[str, Any], status: int, word: str):
    (jobs.folder / "link").symlink_to("/")
    answer = await jobs.ask(**fields)
    assert (answer.status_code, word in answer.text) == (status, True), answer.text
    assert (await jobs.http.get("/v3/background", params={"session": jobs.session})).json()["jobs"] == []


async def test_a_folder_that_is_not_trusted_runs_nothing(
    standing_v3: V3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    jobs = await opened(standing_v3, tmp_path, monkeypatch, trusted=False)
    answer = await jobs.ask(line="touch ran")
    assert (answer.status_code, answer.json()["code"]) == (403, "untrusted")
    assert "opta trust" in answer.json()["detail"] and not (tmp_path / "ran").exists()


@pytest.mark.parametrize("scope", ["read", "write"])
async def test_only_a_token_for_everything_starts_and_ends_jobs(jobs: Jobs, scope: str):
    job = await jobs.start("echo here; sleep 99")
    made = await jobs.http.post("/v3/access/tokens", json={"name": "some", "scope": scope})
    headers = {"Authorization": f"Bearer {made.json()['token']}"}
    asked = {"json": {"session": jobs.session, "line": "true"}, "headers": headers}
    assert (await jobs.http.post("/v3/background", **asked)).status_code == 403
    kill = {"json": {"signal": "kill"}, "headers": headers}
    assert (await jobs.http.post(f"/v3/background/{job['id']}/signal", **kill)).status_code == 403
    assert (await jobs.http.delete(f"/v3/background/{job['id']}", headers=headers)).status_code == 403
    assert (await jobs.http.get(f"/v3/background/{job['id']}", headers=headers)).status_code == 200


async def test_a_daemon_that_stops_ends_its_jobs_first(own: Jobs):
    tame = await own.start("echo here; sleep 99 & echo $!; wait")
    wild = await own.start("trap '' TERM; echo here; while :; do sleep 0.05; done")
    for job in (tame, wild):
        await own.says(job["id"], "here")
    assert own.v3.role.stop() == 0
    assert gone(tame["pid"]) and gone(wild["pid"])
    own.v3.role.start("/v3/health")
    own.http.headers.update(own.v3.role.headers)
    assert (await own.get(tame["id"]))["signal"] == "SIGTERM"
    assert (await own.get(wild["id"]))["signal"] == "SIGKILL"


async def test_the_next_daemon_goes_on_with_the_jobs_of_a_killed_one_and_ends_no_stranger(own: Jobs):
    going = await own.start("echo one; until test -e go; do sleep 0.02; done; echo two; exit 7")
    over = await own.start("until test -e over; do sleep 0.02; done; exit 8")
    alone = await own.start("echo here; sleep 99")
    reused = await own.start("echo here; sleep 99")
    unknown = await own.start("echo here; sleep 99")
    for job in (going, alone, reused, unknown):
        await own.says(job["id"], "e")
    own.v3.role.kill()
    (own.folder / "over").touch()
    for job in (alone, reused):
        keeper = psutil.Process(job["pid"]).parent()
        assert keeper
        keeper.kill()
    os.killpg(reused["pid"], signal.SIGKILL)
    wait_until(lambda: gone(over["pid"]) and gone(reused["pid"]), "those that end without a daemon")
    with psutil.Popen(["sleep", "99"], start_new_session=True) as stranger:
        with sqlite3.connect(own.v3.role.home / "daemon" / "daemon.sqlite3") as rows:
            # Its number is another's by now, as happens on a busy machine sooner or later.
            rows.execute("UPDATE daemon_job SET pid = ? WHERE id = ?", (stranger.pid, reused["id"]))
            # Its start was cut off before it was a row.
            rows.execute("DELETE FROM daemon_job WHERE id = ?", (unknown["id"],))
        own.v3.role.start("/v3/health")
        own.http.headers.update(own.v3.role.headers)
        assert (await own.ended(over["id"]))["code"] == 8
        for job in (alone, reused):
            ended = await own.ended(job["id"])
            assert (ended["status"], ended["code"], ended["signal"]) == ("lost", None, None)
        wait_until(lambda: gone(alone["pid"]) and gone(unknown["pid"]), "those that nobody keeps")
        assert not (own.v3.role.home / "daemon" / "jobs" / unknown["id"]).exists()
        assert stranger.poll() is None
        stranger.kill()
    assert (await own.get(going["id"]))["status"] == "running"
    (own.folder / "go").touch()
    assert (await own.ended(going["id"]))["code"] == 7
    assert (await own.output(going["id"]))["text"] == "one\ntwo\n"
    events = [each["event"] for each in await own.v3.events(own.session)]
    codes = {each["id"]: each["code"] for each in events if each["type"] == "job.ended"}
    assert codes == {going["id"]: 7, over["id"]: 8, alone["id"]: None, reused["id"]: None}
