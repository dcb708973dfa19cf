"""`/docs`: the interactive reference, from files that ship with django-ninja, and what it says of answers."""

import json
from pathlib import Path
from typing import Any

import msgspec
import ninja
from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.openapi.docs import DocsBase

FOLDER = Path(ninja.__file__).parent / "static" / "ninja"
ASSETS = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui-init.js": "text/javascript",
    "favicon.svg": "image/svg+xml",
}
POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"
PAGE = """<!doctype html>
<html lang="en">
<title>{title}</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="icon" href="/docs/favicon.svg">
<body>
<div id="swagger-ui"></div>
<script type="application/json" id="swagger-settings">{settings}</script>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/swagger-ui-init.js"></script>
"""


class Docs(DocsBase):
    """Swagger's page without its content delivery network: LMX works where there is no internet."""

    def render_page(self, request: HttpRequest, api: NinjaAPI, **parameters: Any) -> HttpResponse:
        settings = json.dumps({"url": self.get_openapi_url(api, parameters), "layout": "BaseLayout"})
        answer = HttpResponse(PAGE.format(title=api.title, settings=settings))
        answer["Content-Security-Policy"] = POLICY
        return answer


def asset(request: HttpRequest, name: str) -> HttpResponse:
    if name not in ASSETS:
        raise Http404
    return HttpResponse((FOLDER / name).read_bytes(), content_type=ASSETS[name])


class ErrorDetail(msgspec.Struct):
    message: str
    type: str
    param: str | None
    code: str


class Error(msgspec.Struct):
    """OpenAI's, in which most of LMX speaks."""

    error: ErrorDetail


# Any route may answer so; inference/errors.py has the codes.
REFUSALS = {
    400: "What is wrong with the request; the message names the field, and so does `param`.",
    403: "The Host or the Origin is a stranger's.",
    404: "No such path, model or stored answer.",
    405: "Not with this method.",
    413: "The body is over 10 MB.",
    429: "The queue is full; `Retry-After` says for about how long.",
    500: "The model or the server failed; the log has why.",
    503: "LMX is being stopped, or has no model.",
}


def responses(
    answer: type[msgspec.Struct],
    event: Any = None,
    error: type[msgspec.Struct] = Error,
    stream: str = "text/event-stream",
) -> dict[str, Any]:
    """What a route answers, for OpenAPI: JSON of `answer`, a `stream` of `event`, refusals as `error`."""
    content = {"application/json": {"schema": schema(answer)}}
    if event:
        content[stream] = {"schema": schema(event)}
    refused = {"application/json": {"schema": schema(error)}}
    return {
        "responses": {
            200: {"description": answer.__name__, "content": content},
            **{status: {"description": why, "content": refused} for status, why in REFUSALS.items()},
        }
    }


def schema(shape: Any) -> dict[str, Any]:
    """JSON Schema without references, for it stands in the middle of a larger document."""
    (top,), parts = msgspec.json.schema_components([shape], ref_template="{name}")
    inlined: dict[str, Any] = inline(top, parts)
    return inlined


def inline(value: Any, parts: dict[str, Any]) -> Any:
    if isinstance(value, list):
        return [inline(item, parts) for item in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        return inline(parts[value["$ref"]], parts)
    # A discriminator's mapping is references too; without it, the types' own tags tell them apart.
    return {key: inline(item, parts) for key, item in value.items() if key != "discriminator"}
