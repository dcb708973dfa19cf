"""LMX's routes."""

from django.http import HttpRequest, HttpResponse
from django.urls import path

from inference.api import (
    admin,
    chat,
    completions,
    embeddings,
    health,
    messages,
    models,
    ollama,
    ollama_models,
    prefixes,
    rerank,
    responses,
    tokens,
)
from inference.api.dialect import answer_error
from inference.api.docs import Docs, asset
from inference.schemas import websocket
from opta.api import make_api
from opta.errors import Refusal

api = make_api(
    "Opta LMX",
    answer_error,
    docs=Docs(),
    docs_url="/docs",
    openapi_url="/openapi.json",
    urls_namespace="lmx",
    # OpenAPI has no word for a WebSocket.
    description=f"```\n{websocket.__doc__}\n```",
)
api.add_router("/v1", chat.router)
api.add_router("/v1", completions.router)
api.add_router("/v1", responses.router)
api.add_router("/v1", models.router)
api.add_router("/v1", embeddings.router)
api.add_router("/v1", rerank.router)
api.add_router("/v1", tokens.router)
api.add_router("/v1", messages.router)
api.add_router("/api", ollama.router)
api.add_router("/api", ollama_models.router)
api.add_router("", ollama_models.root)
api.add_router("", health.router)
api.add_router("", admin.router)
api.add_router("", prefixes.router)

urlpatterns = [path("docs/<str:name>", asset), path("", api.urls)]


def handler404(request: HttpRequest, exception: Exception) -> HttpResponse:
    error = Refusal(f"There is no {request.path} here. See /docs.", status=404, code="not_found")
    return answer_error(request, error)
