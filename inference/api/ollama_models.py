"""`/api/tags`, `/api/show`, `/api/ps`, `/api/version`: Ollama's words for which models there are."""

import asyncio
from hashlib import sha256

from django.http import HttpRequest, HttpResponse
from ninja import Router

from inference import metadata
from inference.api.dialect import answer, moment
from inference.api.docs import responses
from inference.api.front import pool_of
from inference.api.ollama import named
from inference.catalog import ANY, Model
from inference.metadata import Metadata
from inference.pool import Runner
from inference.request import Inspect, Report
from inference.schemas import ollama_answer as wire
from inference.schemas.ollama import OllamaShow
from opta.version import VERSION

router = Router(tags=["Ollama"])
root = Router(tags=["Ollama"])
# Until when a model stays loaded that is not told to go.
NEVER = "9999-12-31T23:59:59Z"


@router.get("/tags", summary="Models", openapi_extra=responses(wire.Tags, error=wire.Error))
async def tags(request: HttpRequest) -> HttpResponse:
    """The models on disk right now; any of them is loaded by asking for it."""
    models = pool_of(request).catalog.models()
    read = await asyncio.gather(*(asyncio.to_thread(metadata.about, model) for model in models))
    return answer(wire.Tags([tag(model, about) for model, about in zip(models, read, strict=True)]))


@router.post("/show", summary="Model", openapi_extra=responses(wire.Shown, error=wire.Error))
async def show(request: HttpRequest, wanted: OllamaShow) -> HttpResponse:
    """What one of them says about itself."""
    model = named(pool_of(request), wanted.asked, ANY)
    about = await asyncio.to_thread(metadata.about, model)
    return answer(
        wire.Shown(
            moment(model.created),
            about.template,
            parameters(model),
            details(about),
            about.info or {},
            capabilities(model, about),
        )
    )


@router.get("/ps", summary="Loaded models", openapi_extra=responses(wire.RunningList, error=wire.Error))
async def ps(request: HttpRequest) -> HttpResponse:
    """The models in memory."""
    return answer(wire.RunningList(await asyncio.gather(*map(running, pool_of(request).runners))))


@router.get("/version", summary="Version", openapi_extra=responses(wire.Version, error=wire.Error))
async def version(request: HttpRequest) -> HttpResponse:
    """Of LMX, not of Ollama."""
    return answer(wire.Version(VERSION))


@root.get("/", summary="Running")
async def running_at_all(request: HttpRequest) -> HttpResponse:
    """What Ollama's clients, and people who try the address, ask first."""
    return HttpResponse("Opta LMX is running. Its API is described at /docs.\n", content_type="text/plain")


def tag(model: Model, about: Metadata) -> wire.Tag:
    return wire.Tag(
        model.id, model.id, moment(model.created), model.size_bytes, digest(model), details(about)
    )


async def running(runner: Runner) -> wire.Running:
    """A model's memory as its engine counts it, or its file's size while the runner is deep in a step."""
    model = runner.model
    about = await asyncio.to_thread(metadata.about, model)
    found = await runner.inspect(Inspect(0), Report)
    activity = found.activity if found else None
    size = activity.memory_bytes if activity else model.size_bytes
    on_gpu = size if activity and activity.device != "cpu" else 0
    return wire.Running(model.id, model.id, size, on_gpu, digest(model), details(about), NEVER, model.context)


def digest(model: Model) -> str:
    return sha256(f"{model.id} {model.size_bytes} {model.created}".encode()).hexdigest()


def details(about: Metadata) -> wire.Details:
    return wire.Details(about.format, about.family, [about.family], about.size, about.precision)


def parameters(model: Model) -> str:
    """As a Modelfile has them: what holds where a request says nothing."""
    found = {
        "num_predict": model.defaults.max_tokens,
        "temperature": model.defaults.temperature,
        "top_p": model.defaults.top_p,
    }
    return "\n".join(f"{name} {value}" for name, value in found.items() if value is not None)


def capabilities(model: Model, about: Metadata) -> list[str]:
    """By what the chat template speaks of."""
    if model.kind != "chat":
        return [model.kind]
    found = ["completion"]
    if "tools" in about.template:
        found.append("tools")
    if "think" in about.template:
        found.append("thinking")
    return found
