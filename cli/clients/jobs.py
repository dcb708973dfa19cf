"""Background jobs, asked of the daemon."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

from cli.clients.daemon import Daemon, checked, new_id
from cli.output import Exit, Failure
from cli.protocol.jobs import JobList, JobSignal, JobStart, JobView, OutputView, SignalName

JOBS = "/v3/background"
# Shorter than a connection may be silent.
WAIT_SECONDS = 5


def start(daemon: Daemon, **fields: Any) -> JobView:
    body = checked(JobStart, id=new_id(), **fields)
    return JobView.model_validate_json(daemon.call("POST", JOBS, body))


def jobs(daemon: Daemon, **asked: str) -> list[JobView]:
    return JobList.model_validate_json(daemon.call("GET", f"{JOBS}?{urlencode(asked)}")).jobs


def resolve(daemon: Daemon, beginning: str) -> str:
    """The id of the one job that begins so; else `beginning`, for the daemon to judge."""
    ids = [job.id for job in jobs(daemon) if job.id.startswith(beginning)]
    if len(ids) > 1 and beginning not in ids:
        message = f"Several jobs begin with {beginning!r}."
        raise Failure(message, Exit.MISUSE, "Write more of the id; `opta jobs list` shows them.")
    return ids[0] if len(ids) == 1 else beginning


def ended(daemon: Daemon, id: str, wait: float) -> JobView:
    """The job when it has ended, or after so many seconds."""
    return JobView.model_validate_json(daemon.call("GET", f"{at(id)}?wait={wait:g}"))


def output(daemon: Daemon, id: str, *, follow: bool) -> Iterator[OutputView]:
    """What the job wrote so far; to its end, with `follow`."""
    after, wait = 0, WAIT_SECONDS if follow else 0
    while True:
        query = urlencode({"after": after, "wait": wait, "limit": 1_000_000})
        page = OutputView.model_validate_json(daemon.call("GET", f"{at(id)}/output?{query}"))
        yield page
        after = page.next
        if not page.more and (not follow or page.job.status != "running"):
            return


def signal(daemon: Daemon, id: str, name: SignalName) -> JobView:
    return JobView.model_validate_json(daemon.call("POST", f"{at(id)}/signal", JobSignal(signal=name)))


def remove(daemon: Daemon, id: str) -> None:
    daemon.call("DELETE", at(id))


def at(id: str) -> str:
    return f"{JOBS}/{quote(id, safe='')}"
