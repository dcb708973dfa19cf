"""`GET /admin/status`: what LMX is doing right now."""

import asyncio

import msgspec
from django.http import HttpRequest, HttpResponse
from ninja import Router

from inference.api.dialect import answer
from inference.api.docs import responses
from inference.api.front import pool_of
from inference.pool import OPENBLAS_ADVICE, Runner
from inference.request import Activity, Inspect, Report
from opta.version import VERSION


class RunnerStatus(msgspec.Struct):
    """One runner; `activity` is null when it did not answer in time, deep in a step."""

    model: str
    engine: str
    # Why another engine than the model's own runs it.
    fallback: str | None
    pid: int
    # Answers that clients wait for.
    in_flight: int
    activity: Activity | None
    advice: str | None = None


class Status(msgspec.Struct):
    version: str
    models: str
    loading: list[str]
    runners: list[RunnerStatus]


router = Router(tags=["admin"])


@router.get("/admin/status", summary="Status", openapi_extra=responses(Status))
async def status(request: HttpRequest) -> HttpResponse:
    pool = pool_of(request)
    runners = await asyncio.gather(*map(inspect, pool.runners))
    return answer(Status(VERSION, str(pool.catalog.folder), pool.loading, runners))


async def inspect(runner: Runner) -> RunnerStatus:
    found = await runner.inspect(Inspect(0), Report)
    activity = found.activity if found else None
    advice = OPENBLAS_ADVICE if activity and activity.blas == "reference" else None
    return RunnerStatus(
        runner.model.id,
        runner.engine,
        runner.fallback,
        runner.process.pid,
        runner.in_flight,
        activity,
        advice,
    )
