"""`GET /v1/models` and `/v1/models/{id}`: what can be asked for."""

import msgspec
from django.http import HttpRequest, HttpResponse
from ninja import Router

from inference.api.dialect import answer, moment
from inference.api.docs import responses
from inference.api.front import pool_of
from inference.catalog import ANY, Model
from inference.pool import Pool


class Lmx(msgspec.Struct):
    """What LMX says of a model beyond OpenAI's shape."""

    # "chat", "embedding" or "reranker".
    kind: str
    loaded: bool
    # "mlx" or "gguf": what it runs on, else what its weights are for.
    engine: str
    # Why it runs on other weights than its own, when it does.
    fallback: str | None
    # Tokens of prompt and answer together.
    context: int
    size_bytes: int


class ModelCard(msgspec.Struct):
    """OpenAI's shape and Anthropic's in one, for both ask under the same path."""

    id: str
    created: int
    lmx: Lmx
    # RFC 3339, of the same moment as `created`.
    created_at: str
    display_name: str
    max_input_tokens: int
    object: str = "model"
    type: str = "model"
    owned_by: str = "local"


class ModelList(msgspec.Struct):
    """All of them: there is one page."""

    data: list[ModelCard]
    first_id: str | None
    last_id: str | None
    has_more: bool = False
    object: str = "list"


router = Router(tags=["OpenAI"])


@router.get("/models", summary="Models", openapi_extra=responses(ModelList))
async def models(request: HttpRequest) -> HttpResponse:
    """The models on disk right now; any of them is loaded by asking for it."""
    pool = pool_of(request)
    cards = [card(pool, model) for model in pool.catalog.models()]
    first, last = (cards[0].id, cards[-1].id) if cards else (None, None)
    return answer(ModelList(cards, first, last))


@router.get("/models/{path:model_id}", summary="Model", openapi_extra=responses(ModelCard))
async def one(request: HttpRequest, model_id: str) -> HttpResponse:
    """One of them; its id may have a slash in it, and be `auto`."""
    pool = pool_of(request)
    return answer(card(pool, pool.find(model_id, ANY)))


def card(pool: Pool, model: Model) -> ModelCard:
    runner = next((runner for runner in pool.runners if runner.model.id == model.id), None)
    about = Lmx(
        kind=model.kind,
        loaded=runner is not None,
        engine=runner.engine if runner else model.engine,
        fallback=runner.fallback if runner else None,
        context=model.context,
        size_bytes=model.size_bytes,
    )
    return ModelCard(model.id, model.created, about, moment(model.created), model.id, model.context)
