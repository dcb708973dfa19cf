"""`GET /v1/models`: what can be asked for."""

import msgspec
from django.http import HttpRequest, HttpResponse
from ninja import Router

from inference.api.dialect import answer
from inference.api.docs import responses
from inference.api.front import pool_of


class Lmx(msgspec.Struct):
    """What LMX says of a model beyond OpenAI's shape."""

    loaded: bool
    context: int
    size_bytes: int


class ModelCard(msgspec.Struct):
    id: str
    created: int
    lmx: Lmx
    object: str = "model"
    owned_by: str = "local"


class ModelList(msgspec.Struct):
    data: list[ModelCard]
    object: str = "list"


router = Router(tags=["OpenAI"])


@router.get("/models", summary="Models", openapi_extra=responses(ModelList))
async def models(request: HttpRequest) -> HttpResponse:
    """The models on disk right now; any of them is loaded by asking for it."""
    pool = pool_of(request)
    loaded = {runner.model.id for runner in pool.runners}
    cards = [
        ModelCard(model.id, model.created, Lmx(model.id in loaded, model.context, model.size_bytes))
        for model in pool.catalog.models()
    ]
    return answer(ModelList(cards))
