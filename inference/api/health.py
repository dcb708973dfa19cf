"""`/healthz`: LMX is alive. `/readyz`: it could answer a request."""

import msgspec
from django.http import HttpRequest, HttpResponse
from ninja import Router

from inference.api.dialect import answer
from inference.api.docs import responses
from inference.api.front import pool_of
from inference.catalog import AUTO
from inference.errors import UnknownModel
from opta.version import VERSION


class Alive(msgspec.Struct):
    version: str
    status: str = "ok"
    service: str = "lmx"


class Ready(msgspec.Struct):
    model: str
    status: str = "ok"


class NotReady(msgspec.Struct):
    reason: str
    status: str = "unavailable"


router = Router(tags=["health"])


@router.get("/healthz", summary="Alive", openapi_extra=responses(Alive))
async def healthz(request: HttpRequest) -> HttpResponse:
    return answer(Alive(VERSION))


@router.get("/readyz", summary="Ready", openapi_extra=responses(Ready, error=NotReady))
async def readyz(request: HttpRequest) -> HttpResponse:
    """200 with the model that `auto` stands for, or 503 with the reason there is none."""
    pool = pool_of(request)
    try:
        model = pool.find(AUTO)
    except UnknownModel as error:
        return answer(NotReady(error.message), 503)
    return answer(Ready(model.id))
