"""Background jobs: started, listed, watched, signalled, removed."""

from typing import Annotated

from django.http import HttpRequest
from ninja import Query, Router
from ninja.responses import Status

from cli.daemon import hub
from cli.protocol.jobs import JobFilter, JobList, JobSignal, JobStart, JobView, OutputPage, OutputView

router = Router()
Wait = Annotated[float, Query(ge=0, le=60)]


@router.post("background", response={200: JobView, 201: JobView})
async def start_job(request: HttpRequest, body: JobStart) -> Status[JobView]:
    view, created = await hub.of(request).jobs.start(body)
    return Status(201 if created else 200, view)


@router.get("background", response=JobList)
async def list_jobs(request: HttpRequest, asked: Annotated[JobFilter, Query()]) -> JobList:
    return JobList(jobs=await hub.of(request).jobs.listed(asked))


@router.get("background/{id}", response=JobView)
async def get_job(request: HttpRequest, id: str, wait: Wait = 0) -> JobView:
    """The job at once, or with `wait` when it has ended and after so many seconds at the latest."""
    return await hub.of(request).jobs.view(id, wait)


@router.get("background/{id}/output", response=OutputView)
async def read_job(request: HttpRequest, id: str, page: Annotated[OutputPage, Query()]) -> OutputView:
    return await hub.of(request).jobs.output(id, page)


@router.post("background/{id}/signal", response=JobView)
async def signal_job(request: HttpRequest, id: str, body: JobSignal) -> JobView:
    return await hub.of(request).jobs.signal(id, body.signal)


@router.delete("background/{id}", response={204: None})
async def remove_job(request: HttpRequest, id: str) -> Status[None]:
    await hub.of(request).jobs.remove(id)
    return Status(204, None)
