"""`GET /admin/prefix-cache`: what is kept of earlier prompts, and why the last requests had no more of it."""

import asyncio

import msgspec
from django.http import HttpRequest, HttpResponse
from ninja import Router

from inference.api.dialect import answer
from inference.api.docs import responses
from inference.api.front import pool_of
from inference.catalog import ANY
from inference.pool import Runner
from inference.request import InspectPrefixes, Lookup, Prefixes


class PrefixCache(msgspec.Struct):
    """Of one loaded model; the disk's budget is for all models together. The newest lookup comes first."""

    model: str
    entries: int
    bytes: int
    budget_bytes: int
    disk_entries: int
    disk_bytes: int
    disk_budget_bytes: int
    lookups: list[Lookup]


class PrefixCaches(msgspec.Struct):
    data: list[PrefixCache]


router = Router(tags=["admin"])


@router.get("/admin/prefix-cache", summary="Prefix cache", openapi_extra=responses(PrefixCaches))
async def prefix_cache(request: HttpRequest, model: str | None = None) -> HttpResponse:
    """Of every loaded model, or of `model`, if it is loaded.

    **This shows text of prompts**, around the place where each differs from the nearest one kept. It is for
    whoever runs this server, which listens to its own machine alone unless it is told otherwise.
    """
    pool = pool_of(request)
    wanted = None if model is None else pool.find(model, ANY).id
    runners = [runner for runner in pool.runners if wanted in (None, runner.model.id)]
    found = await asyncio.gather(*map(about, runners))
    return answer(PrefixCaches([one for one in found if one]))


async def about(runner: Runner) -> PrefixCache | None:
    found = await runner.inspect(InspectPrefixes(0), Prefixes)
    return PrefixCache(runner.model.id, *msgspec.structs.astuple(found)[1:]) if found else None
