"""Who may ask: the names LMX is called by, and the pages that may call it.

A page on the web can make its own name point to 127.0.0.1 (DNS rebinding) and can send requests
to any address. The first shows in the Host header, the second in Origin. A page that may ask may also
read the answer, which a browser allows by the headers of CORS alone.
"""

from collections.abc import Awaitable, Callable, Mapping
from ipaddress import ip_address
from socket import gethostname
from urllib.parse import urlsplit

from django.http import HttpRequest, HttpResponse
from django.utils.decorators import async_only_middleware

from inference.api.dialect import answer_error
from inference.api.front import pool_of
from inference.config import Config, is_loopback
from opta.errors import Refusal

Handler = Callable[[HttpRequest], Awaitable[HttpResponse]]


@async_only_middleware
def middleware(get_response: Handler) -> Handler:
    async def checked(request: HttpRequest) -> HttpResponse:
        try:
            check(request.headers, pool_of(request).config)
        except Refusal as error:
            return answer_error(request, error)
        return shared(request, await answered(request))

    async def answered(request: HttpRequest) -> HttpResponse:
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            return HttpResponse(status=204)
        if request.method == "HEAD":  # a GET whose body the server leaves out
            request.method = "GET"
        response = await get_response(request)
        if response.status_code == 405:  # django-ninja's own, and not in our dialect
            message = f"{request.path} does not take {request.method}."
            refused = answer_error(request, Refusal(message, status=405, code="method_not_allowed"))
            refused["Allow"] = response["Allow"]
            return refused
        return response

    return checked


def shared(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """Let the page that asks, if a page does, read it; source: the Fetch standard, "CORS protocol"."""
    if origin := request.headers.get("Origin"):
        response["Access-Control-Allow-Origin"] = origin
        response["Access-Control-Expose-Headers"] = "Retry-After"
        response["Vary"] = "Origin"
        if wanted := request.headers.get("Access-Control-Request-Method"):
            response["Access-Control-Allow-Methods"] = wanted
            response["Access-Control-Allow-Headers"] = request.headers.get(
                "Access-Control-Request-Headers", ""
            )
    return response


def check(headers: Mapping[str, str], config: Config) -> None:
    """Raises Refusal for a Host that is not ours, and for a page of a stranger."""
    host = headers.get("Host", "")
    if not called(hostname(f"//{host}"), config):
        raise Refusal(
            f"This server is not called {host!r}. LMX_HOSTS may name it.", status=403, code="host_refused"
        )
    origin = headers.get("Origin")
    if origin is not None and not known(hostname(origin), config):
        raise Refusal(
            f"Pages of {origin} may not call LMX. LMX_HOSTS may name it.", status=403, code="origin_refused"
        )


def hostname(url: str) -> str:
    """The host of a URL, lower-case, without port and brackets; empty when there is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def called(name: str, config: Config) -> bool:
    """Whether a Host header may say so: an address cannot be rebound, only a name can."""
    return known(name, config) or (is_address(name) and not is_loopback(config.host))


def known(name: str, config: Config) -> bool:
    """Loopback and the names the user listed; beyond loopback also this machine's own name and address."""
    if is_loopback(name) or name in config.hosts:
        return True
    if is_loopback(config.host):
        return False
    own = gethostname().lower()
    return name in (config.host.lower(), own, f"{own}.local")


def is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
