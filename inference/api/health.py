"""`/healthz`: LMX is alive. `/readyz`: it could answer a request."""

from django.http import HttpRequest, HttpResponse
from ninja import Router

from inference.api.dialect import answer
from inference.api.front import pool_of
from inference.catalog import AUTO
from inference.errors import UnknownModel
from opta.version import VERSION

router = Router(tags=["health"])


@router.get("/healthz", summary="Alive")
async def healthz(request: HttpRequest) -> HttpResponse:
    return answer({"status": "ok", "service": "lmx", "version": VERSION})


@router.get("/readyz", summary="Ready")
async def readyz(request: HttpRequest) -> HttpResponse:
    """200 with the model that `auto` stands for, or 503 with the reason there is none."""
    pool = pool_of(request)
    try:
        model = pool.find(AUTO)
    except UnknownModel as error:
        return answer({"status": "unavailable", "reason": error.message}, 503)
    return answer({"status": "ok", "model": model.id})
