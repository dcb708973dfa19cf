"""Tools that run commands in the session's folder, in a sandbox: to their end, or in the background."""

import asyncio
import os
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process, create_subprocess_exec
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Annotated

from pydantic import Field

from cli.protocol.jobs import JobFilter, JobStart, JobView, OutputPage
from cli.sandbox.box import Box, ability
from cli.tools.background import Background
from cli.tools.files import Workspace
from cli.tools.output import HALF, Output, plain

# How long the sandbox may take to end what runs in it.
END_SECONDS = 3.0
NO_SANDBOX = "(This system has no sandbox: it ran with all that you may do.)"

Line = Annotated[str, Field(min_length=1, max_length=64_000, pattern=r"^[^\x00]*$", description="For bash.")]
Reach = Annotated[bool, Field(description="Whether it needs the network, which is cut off else.")]
JobId = Annotated[str, Field(description="The id that bg_start gave.")]


async def run_command(
    workspace: Workspace,
    command: Line,
    timeout_seconds: Annotated[int, Field(ge=1, le=3600)] = 120,
    network: Reach = False,
) -> str:
    """Run a command in the working directory to its end. It can write there and in $TMPDIR alone.

    Nothing can be typed to it, and what it leaves running ends with it: bg_start is for servers.
    """
    with TemporaryDirectory(prefix="opta-", ignore_cleanup_errors=True) as temporary:
        umask = workspace.jobs.umask if workspace.jobs else None
        box = Box(workspace.cwd, Path(temporary), network, umask=umask)
        output, began = Output(workspace.session), monotonic()
        process = await started(box, command)
        try:
            async with asyncio.timeout(timeout_seconds) as limit:
                await taken(process, output)
        except TimeoutError:
            if not limit.expired():
                raise
        finally:
            await ended(process)
        if limit.expired():
            await output_left(process, output)
            how = f"stopped: it took longer than {timeout_seconds} s"
        else:
            how = f"exit status {process.returncode}, {monotonic() - began:.1f} s"
    notes = [box.only_reads and f"({box.only_reads})", "" if ability().any else NO_SANDBOX]
    return "\n".join(filter(None, [output.shown().rstrip("\n"), f"({how})", *notes]))


async def started(box: Box, command: str) -> Process:
    """The command under way. Raises OSError."""
    words = await asyncio.to_thread(box.command, ["bash", "-c", command])
    return await create_subprocess_exec(
        *words,
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=STDOUT,
        cwd=box.folder,
        env=box.environment(os.environ),
        start_new_session=True,
    )


async def taken(process: Process, output: Output) -> None:
    """All that it writes, until it has ended."""
    if process.stdout:
        await output.take(process.stdout)
    await process.wait()


async def output_left(process: Process, output: Output) -> None:
    """What it had written before it was ended."""
    with suppress(TimeoutError):
        async with asyncio.timeout(END_SECONDS):
            await taken(process, output)


async def ended(process: Process) -> None:
    """End it, with all it started: the sandbox sees to that, and its kernel when the sandbox is killed."""
    if process.returncode is not None:
        return
    try:
        process.terminate()
        async with asyncio.timeout(END_SECONDS):
            await process.wait()
    except (TimeoutError, ProcessLookupError):
        pass  # then it is killed, as it is when we are cancelled meanwhile
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()


async def bg_start(workspace: Workspace, command: Line, network: Reach = False) -> str:
    """Start a command that goes on in the background, such as a server or a watcher."""
    jobs = background(workspace)
    request = JobStart(session=workspace.session, command=["bash", "-c", command], label=command[:200])
    job, _ = await jobs.start(request, partial(Box, network=network))
    return f"Job {job.id} runs. bg_output shows what it writes, bg_kill ends it."


async def bg_status(workspace: Workspace, job: JobId = "") -> str:
    """How a background job stands; without an id, all of this session's."""
    if job:
        return said(await own(workspace, job))
    found = await background(workspace).listed(JobFilter(session=workspace.session))
    return "\n".join(map(said, found)) or "There are no background jobs."


async def bg_output(
    workspace: Workspace,
    job: JobId,
    after: Annotated[int, Field(ge=0, description="From which byte on; 0 is the beginning.")] = 0,
    wait_seconds: Annotated[int, Field(ge=0, le=60, description="For output, while there is none.")] = 0,
) -> str:
    """What a background job has written, 32 KB at a time."""
    await own(workspace, job)
    page = OutputPage(after=after, limit=2 * HALF, wait=wait_seconds)
    found = await background(workspace).output(job, page)
    rest = "There is more: go on" if found.more else "That is all so far: go on" if running(found.job) else ""
    next_one = f"({rest} with after {found.next}.)" if rest else ""
    return "\n".join(filter(None, [plain(found.text.encode()).rstrip("\n"), next_one, said(found.job)]))


async def bg_kill(workspace: Workspace, job: JobId) -> str:
    """End a background job and all that it started."""
    found, jobs = await own(workspace, job), background(workspace)
    if running(found):
        await jobs.signal(job, "term")
        found = await jobs.view(job, wait=END_SECONDS)
    if running(found):
        await jobs.signal(job, "kill")
        found = await jobs.view(job, wait=END_SECONDS)
    return said(found)


def background(workspace: Workspace) -> Background:
    if workspace.jobs is None:
        raise ValueError("Only a daemon has background jobs.")
    return workspace.jobs


async def own(workspace: Workspace, job: str) -> JobView:
    """A job of this session. Raises ValueError for another's, as for one that there is not."""
    found = await background(workspace).listed(JobFilter(session=workspace.session))
    if view := next((each for each in found if each.id == job), None):
        return view
    raise ValueError(f"There is no job {job!r}. There are: {', '.join(each.id for each in found) or 'none'}.")


def running(job: JobView) -> bool:
    return job.status == "running"


def said(job: JobView) -> str:
    how = f" with status {job.code}" if job.code is not None else f" by {job.signal}" if job.signal else ""
    return f"Job {job.id} {'runs' if running(job) else job.status + how}: {job.label or job.command[-1]}"
