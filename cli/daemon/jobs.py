"""Background jobs: commands of a session that go on between its turns; each a row, a folder and a keeper.

A job's output goes from its keeper to files and never through the daemon, so it outlives a daemon that is
killed: the next one goes on watching. A daemon that is told to stop ends its jobs first.
"""

import asyncio
import json
import logging
import os
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, create_subprocess_exec
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psutil

from cli.daemon import keeper
from cli.daemon.database import Database
from cli.daemon.errors import Conflict, Stopping, StorageFailed, UnknownJob, UnknownSession, Untrusted
from cli.daemon.log import Logs
from cli.daemon.models import Job, Lost, Session, new_id
from cli.daemon.record import Record, everyone
from cli.protocol.events import Event, JobEnded, JobOutput, JobStarted
from cli.protocol.jobs import JobFilter, JobStart, JobStatus, JobView, OutputPage, OutputView, SignalName
from cli.sandbox.box import Box
from cli.tools.background import Boxed
from cli.tools.files import Outside, Workspace
from cli.trust import trusted
from opta.errors import Refusal

log = logging.getLogger(__name__)

RUNNING_AT_ONCE = 20
# How often a job's files are looked at: its keeper, which outlives the daemon, wakes nobody.
LOOK_SECONDS = 0.1
# Between two events that say there is more output: a second, and once it is longer this part of the job's
# age, for each is kept in the log. They are for whoever follows the session meanwhile.
TELL_SECONDS = 1.0
TELL_PART = 0.01
RETRY_SECONDS = 1.0
# How long a group that is asked to end may take, and how long its keeper may take to say that it has.
END_SECONDS = 1.0
KEPT_SECONDS = keeper.GRACE_SECONDS + 1.0
# What was said to the daemon's own process, and would mislead another.
OURS = {"DJANGO_SETTINGS_MODULE", "NOTIFY_SOCKET", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS"}


class Live(NamedTuple):
    """A job under way, and the task that sees it end."""

    job: Job
    task: asyncio.Task[None]


class Command(NamedTuple):
    """What a keeper is to run; `umask` is what the files are made with."""

    words: list[str]
    cwd: Path
    env: dict[str, str]
    umask: int


class Jobs:
    """The jobs of all sessions."""

    def __init__(self, database: Database, logs: Logs) -> None:
        self.database = database
        self.logs = logs
        self.running: dict[str, Live] = {}
        self.starts: set[asyncio.Task[tuple[JobView, bool]]] = set()
        self.stopping = False
        self.umask = 0o077

    async def resume(self, umask: int) -> None:
        """Take up what another daemon left. `umask` is what the user's files are made with."""
        self.umask = umask
        rows = await self.database(left)
        for job in rows:
            self._watch(job)
        known = await self.database(ids)
        for id in await asyncio.to_thread(everyone):
            if id not in known:  # its start or its session's deletion was cut off
                log.warning("job %s has no row; it is ended", id)
                await clear(Record(id))

    async def start(self, request: JobStart, boxed: Boxed | None = None) -> tuple[JobView, bool]:
        """A job under way, and whether it is new. Once it is a row it runs, even if the caller hangs up.

        It runs in a sandbox where there is a `boxed`, which the row does not tell of.
        """
        if self.stopping:
            raise Stopping
        task = asyncio.create_task(self._start(request, boxed))
        self.starts.add(task)
        task.add_done_callback(self.starts.discard)
        return await asyncio.shield(task)

    async def listed(self, asked: JobFilter) -> list[JobView]:
        return await self.database(chosen, asked)

    async def view(self, id: str, wait: float = 0) -> JobView:
        """A job, after `wait` seconds or when it has ended. Raises UnknownJob."""
        job = await self.database(found, id)
        if job.status == "running" and wait and (live := self.running.get(id)):
            await asyncio.wait([live.task], timeout=wait)
            job = await self.database(found, id)
        return job.view()

    async def output(self, id: str, page: OutputPage) -> OutputView:
        """What the job wrote, once there is some. Raises UnknownJob."""
        record, until = Record(id), time.monotonic() + page.wait
        job = await self.database(found, id)
        if page.after > record.size():
            message = f"The job has written {record.size()} bytes, not {page.after}."
            raise Refusal(message, field="after")
        while True:
            last = job.status != "running"
            piece = await asyncio.to_thread(record.read, page.after, page.limit, last=last)
            if piece.next > page.after or last or time.monotonic() >= until:
                return OutputView(job=job.view(), **piece._asdict())
            await asyncio.sleep(LOOK_SECONDS)
            if id not in self.running:
                job = await self.database(found, id)

    async def signal(self, id: str, name: SignalName) -> JobView:
        """Raises UnknownJob, or Conflict when it has ended."""
        job = await self.database(found, id)
        if job.status != "running" or not send(job, signal.Signals[f"SIG{name.upper()}"]):
            raise Conflict(f"The job {id!r} has ended.")
        return job.view()

    async def remove(self, id: str) -> None:
        """Take away an ended job and what it wrote. Raises UnknownJob or Conflict."""
        job = await self.database(found, id)
        if job.status == "running":
            raise Conflict(f"The job {id!r} is running. Stop it first: `opta jobs stop {id}`.")
        await asyncio.to_thread(Record(id).remove)
        await self.database(job.delete)

    async def forget(self, jobs: Iterable[Job]) -> None:
        """End the jobs of a session that was deleted, and take their files away."""
        await asyncio.shield(asyncio.gather(*(self._forget(job) for job in jobs)))

    async def stop(self) -> None:
        """End all jobs, for the daemon ends; none begins any more."""
        self.stopping = True
        if self.starts:
            await asyncio.wait(self.starts)
        for number in (signal.SIGTERM, signal.SIGKILL):
            live = list(self.running.values())
            for job, _ in live:
                send(job, number)
            if live:
                await asyncio.wait([task for _, task in live], timeout=END_SECONDS)
        for _, task in self.running.values():
            task.cancel()  # what is not stored by now is settled at the next start

    async def _start(self, request: JobStart, boxed: Boxed | None) -> tuple[JobView, bool]:
        cwd, before = await self.database(place, request)
        if before:
            return before.view(), False
        if len(self.running) + len(self.starts) > RUNNING_AT_ONCE:
            message = f"{RUNNING_AT_ONCE} jobs are running. Stop one of them: `opta jobs list`."
            raise Refusal(message, status=429, code="too_many_jobs")
        job = Job(id=request.id or new_id(), session_id=request.session, label=request.label)
        job.command, job.cwd, record = request.words, str(cwd), Record(job.id)
        try:
            run = Command(job.command, cwd, {**environment(), **request.env}, self.umask)
            job.pid = await launch(record, run, boxed)
            job.born = born(job.pid)
            body = JobStarted(id=job.id, label=job.label, command=job.command, cwd=job.cwd)
            await self.logs.of(job.session_id).append("", body, partial(insert, job))
        except FileExistsError as error:
            raise Conflict(f"There is a job {job.id!r} already.", field="id") from error
        except OSError as error:
            await clear(record)
            raise StorageFailed(f"The job's folder could not be made: {error.strerror}.") from error
        except BaseException:
            await clear(record)
            raise
        self._watch(job)
        return job.view(), True

    def _watch(self, job: Job) -> None:
        task = asyncio.create_task(self._follow(job))
        self.running[job.id] = Live(job, task)
        task.add_done_callback(lambda _: self.running.pop(job.id, None))

    async def _follow(self, job: Job) -> None:
        """Until the job ends: tell those who follow the session of what it writes, and then how it ended."""
        record, told, next_time, began = Record(job.id), 0, 0.0, time.monotonic()
        while (code := record.code()) is None and record.kept():
            size, now = record.size(), time.monotonic()
            if size > told and now >= next_time and job.session_id in self.logs.open:
                told, next_time = size, now + max(TELL_SECONDS, TELL_PART * (now - began))
                with suppress(Refusal):  # on a full disk the next one says as much
                    await self.logs.of(job.session_id).append("", JobOutput(id=job.id, next=size))
            await asyncio.sleep(LOOK_SECONDS)
        if code is None and (code := record.code()) is None:
            send(job, signal.SIGKILL)  # its keeper is gone, and nobody would take down what it says
        await self._end(job, code, record.size())

    async def _end(self, job: Job, code: int | None, size: int) -> None:
        """Store how the job ended; tries until the disk takes it."""
        status: JobStatus = "lost" if code is None else "killed" if code < 0 else "exited"
        job.status, job.code = status, code
        view = job.view()
        body = JobEnded(id=job.id, status=status, code=view.code, signal=view.signal, next=size)
        while True:
            try:
                await self.logs.of(job.session_id).append("", body, partial(finish, job))
                return
            except (UnknownSession, Lost):
                return  # deleted meanwhile, and the job with it
            except Refusal as refusal:
                log.error("job %s cannot end: %s", job.id, refusal.message)
                await asyncio.sleep(RETRY_SECONDS)

    async def _forget(self, job: Job) -> None:
        if live := self.running.get(job.id):
            send(job, signal.SIGKILL)
            await asyncio.wait([live.task], timeout=KEPT_SECONDS)
        await clear(Record(job.id))


async def launch(record: Record, run: Command, boxed: Boxed | None) -> int:
    """Start the command under a keeper; its pid. Raises FileExistsError, or Refusal when it cannot be run."""
    with record.made() as lock:
        if boxed:
            run = await asyncio.to_thread(inside, run, boxed(run.cwd, record.temporary()))
        kept = [keeper.__file__, str(record.folder), str(run.umask)]
        try:
            process = await create_subprocess_exec(
                *(sys.executable, "-I", "-S", *kept, *run.words),
                stdin=DEVNULL,
                stdout=PIPE,
                cwd=run.cwd,
                env=run.env,
                pass_fds=[lock],
                start_new_session=True,
            )
        except OSError as error:
            raise Refusal(f"{run.words[0][:200]} cannot be run: {error.strerror}.") from error
    line = await process.stdout.readline() if process.stdout else b""
    said = json.loads(line or b'{"error": "its keeper died"}')
    if "pid" not in said:
        raise Refusal(f"The command cannot be run: {said['error']}.", field="command")
    return int(said["pid"])


def inside(run: Command, box: Box) -> Command:
    """The command as it runs in a sandbox. Raises OSError."""
    return run._replace(words=box.command(run.words), env=box.environment(run.env))


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in OURS}


async def clear(record: Record) -> None:
    """End what runs in a folder that no row knows, and take the folder away."""
    until = time.monotonic() + KEPT_SECONDS
    while await asyncio.to_thread(record.kept) and time.monotonic() < until:
        # While its keeper lives and has not seen it end, the number is the command's.
        if (pid := record.pid()) and record.code() is None:
            keeper.end(pid, signal.SIGKILL)
        await asyncio.sleep(LOOK_SECONDS)
    await asyncio.to_thread(record.remove)


def send(job: Job, number: signal.Signals) -> bool:
    """Signal the job's group; False, and nobody is signalled, when its number is another's by now."""
    return Record(job.id).code() is None and born(job.pid) == job.born and keeper.end(job.pid, number)


def born(pid: int) -> str:
    """When a process began, in a way that no clock changes: with its pid it names the process for good.

    Empty when there is none.
    """
    try:
        if sys.platform != "linux":
            return str(psutil.Process(pid).create_time())
        # The 22nd field; the second is a name in brackets, which may hold anything (proc_pid_stat(5)).
        ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {ticks}"
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return ""


def place(request: JobStart) -> tuple[Path, Job | None]:
    """Where the job is to run, and the one that there is under its id already.

    Raises UnknownSession, Untrusted, Conflict for an id that is another job's, and Refusal for a bad cwd.
    """
    before = Job.objects.filter(id=request.id).first() if request.id else None
    if before and (before.session_id, before.command) != (request.session, request.words):
        raise Conflict(f"There is a job {before.id!r}, and it is another one.", field="id")
    if before:
        return Path(before.cwd), before
    session = Session.objects.filter(id=request.session).first()
    if session is None:
        raise UnknownSession(request.session)
    folder = Path(session.cwd)
    if not trusted(folder):
        raise Untrusted(folder)
    try:
        cwd = Workspace(folder).inside(request.cwd)
    except (Outside, FileNotFoundError) as error:
        raise Refusal(f"cwd: {error}", field="cwd") from error
    if not cwd.is_dir():
        raise Refusal(f"cwd: {cwd} is no folder.", field="cwd")
    return cwd, None


def insert(job: Job, event: Event) -> None:
    job.created = event.time
    job.save(force_insert=True)


def finish(job: Job, event: Event) -> None:
    """Raises Lost when the job has ended already, or is gone."""
    job.ended = event.time
    values = {"status": job.status, "code": job.code, "ended": job.ended}
    if Job.objects.filter(id=job.id, status="running").update(**values) != 1:
        raise Lost(f"job {job.id} is not running")


def found(id: str) -> Job:
    """Raises UnknownJob."""
    job = Job.objects.filter(id=id).first()
    if job is None:
        raise UnknownJob(id)
    return job


def chosen(asked: JobFilter) -> list[JobView]:
    wanted = {"session_id": asked.session, "status": asked.status}
    exact = {name: value for name, value in wanted.items() if value is not None}
    return [job.view() for job in Job.objects.filter(**exact).order_by("-created", "-id")]


def left() -> list[Job]:
    """Those that run, as far as the rows know."""
    return list(Job.objects.filter(status="running"))


def ids() -> set[str]:
    return set(Job.objects.values_list("id", flat=True))
