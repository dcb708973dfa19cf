"""What a query may hold: ninja leaves the names it does not know, and takes the last of two values."""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest
from ninja.params.models import QueryModel

from opta.errors import Refusal


def strict(view: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """The view of a route; it refuses a name that the route does not declare, or that is there twice."""
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
