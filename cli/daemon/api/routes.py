"""What holds for every route, whatever it does."""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest
from ninja.params.models import QueryModel

from cli.daemon.whole import whole
from opta.errors import Refusal

View = Callable[..., Awaitable[Any]]
READING = {"GET", "HEAD"}


def strict(view: View) -> View:
    """Refuse a query's name that the route does not declare, or that is there twice.

    ninja leaves the names it does not know, and takes the last of two values.
    """
    models = view._ninja_operation.models  # type: ignore[attr-defined]  # where ninja keeps them
    known = [name for each in models if issubclass(each, QueryModel) for name in each.__ninja_flatten_map__]

    @wraps(view)
    async def checked(request: HttpRequest, **values: Any) -> Any:
        for name, given in request.GET.lists():
            if name not in known:
                said = f"Known: {', '.join(known)}." if known else "The route takes none."
                raise Refusal(f"{name[:80]}: there is no such parameter. {said}", field=name[:80])
            if len(given) > 1:
                raise Refusal(f"{name}: it is there {len(given)} times. Give it once.", field=name)
        return await view(request, **values)

    return checked


def lasting(view: View) -> View:
    """Do all of what a request asks for, also for a client that hangs up: Django cancels its view then."""

    @wraps(view)
    async def shielded(request: HttpRequest, **values: Any) -> Any:
        asked = view(request, **values)
        return await (asked if request.method in READING else whole(asked))

    return shielded
