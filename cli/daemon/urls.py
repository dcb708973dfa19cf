"""The daemon's routes; everything below /v3 speaks the protocol of cli/protocol."""

from django.http import HttpRequest, HttpResponse
from django.urls import path

from cli.daemon.api import (
    access,
    context,
    events,
    handoff,
    health,
    jobs,
    metrics,
    models,
    openai,
    operations,
    permissions,
    sessions,
    settings,
    trust,
    turns,
)
from cli.daemon.api.dialect import Renderer, answer_problem
from cli.daemon.api.routes import lasting, strict
from opta.api import make_api
from opta.errors import Refusal

api = make_api("Opta daemon", answer_problem, openapi_url="openapi.json", docs_url=None, renderer=Renderer())
api.add_decorator(strict)
api.add_decorator(lasting)
for each in (  # in the order in which a path is tried: first what is asked for most
    turns,
    events,
    health,
    handoff,
    metrics,
    access,
    models,
    settings,
    trust,
    operations,
    permissions,
    sessions,
    context,
    jobs,
):
    api.add_router("", each.router)

compatible = make_api("Opta daemon, as OpenAI's", answer_problem, openapi_url=None, urls_namespace="v1")
compatible.add_decorator(strict)
compatible.add_router("", openai.router)

urlpatterns = [path("v3/", api.urls), path("v1/", compatible.urls)]


def handler404(request: HttpRequest, exception: Exception) -> HttpResponse:
    message = f"There is nothing at {request.path}. The routes are in /v3/openapi.json."
    return answer_problem(request, Refusal(message, status=404, code="not_found"))


def handler500(request: HttpRequest) -> HttpResponse:
    message = "The daemon failed; its log has the trace."
    return answer_problem(request, Refusal(message, status=500, code="internal_error"))
