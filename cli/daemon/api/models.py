"""The models of all providers, and what LMX tells of itself."""

from collections.abc import Mapping

from django.http import HttpRequest, HttpResponse
from ninja import Router

from cli.clients.lmx import READS
from cli.clients.providers import OWN, Listing
from cli.clients.refusals import Refused
from cli.daemon import hub
from cli.protocol.catalogue import ModelList, ModelView, ProviderView
from cli.protocol.failures import HINTS, Failure
from opta.errors import Refusal

router = Router()


@router.get("models", response=ModelList)
async def list_models(request: HttpRequest) -> ModelList:
    """Asked of every server right now; one that does not answer within 2 s is not healthy."""
    listings = await hub.of(request).providers.catalogue()
    return ModelList(
        models=[view for listing in listings for view in models(listing)],
        providers=[provider(listing) for listing in listings],
    )


@router.get("lmx/{name}")
async def read_lmx(
    request: HttpRequest, name: str, host: str = OWN, model: str | None = None
) -> HttpResponse:
    """What an LMX says of itself, as it says it: `host` names another one than that of `lmx_url`.

    Where LMX refuses, its status and its words are the answer.
    """
    query = {} if model is None else {"model": model}
    check(name, query)
    try:
        lmx = hub.of(request).providers.host(host)
    except KeyError as error:
        message = f"There is no LMX {host!r}. `opta providers` lists those there are."
        raise Refusal(message, field="host", status=404, code="unknown_provider") from error
    try:
        return HttpResponse(await lmx.read(name, query), content_type="application/json")
    except Refused as refused:
        raise Refusal(refused.message, status=refused.status, code=refused.code) from refused
    except Failure as failure:
        raise Refusal(said(failure), status=502, code=failure.code) from failure


def check(name: str, query: Mapping[str, str]) -> None:
    """Only what READS names is passed on: the rest of LMX is not for the daemon's clients."""
    if name not in READS:
        message = f"There is no lmx/{name}. There are: {', '.join(READS)}."
        raise Refusal(message, status=404, code="not_found")
    if foreign := query.keys() - READS[name].query:
        field = sorted(foreign)[0]
        raise Refusal(f"lmx/{name} takes no {field!r}.", field=field)


def models(listing: Listing) -> list[ModelView]:
    """LMX's own by their bare names, another server's behind its name."""
    name = listing.server.name
    prefix = "" if name == OWN else f"{name}/"
    return [
        ModelView(provider=name, **{**dict(model), "id": f"{prefix}{model.id}"}) for model in listing.models
    ]


def provider(listing: Listing) -> ProviderView:
    server, failure = listing.server, listing.failure
    return ProviderView(
        name=server.name,
        kind=type(server).__name__.lower(),
        url=server.url,
        healthy=failure is None,
        problem=said(failure) if failure else "",
    )


def said(failure: Failure) -> str:
    return f"{failure.message} {HINTS[failure.code]}"
