"""Which site a request is for, addresses across sites, and what every page and answer carries."""

from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django import template
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseNotFound
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.decorators import sync_and_async_middleware

from opta.urls import SITES, Site
from opta.version import VERSION

register = template.Library()
Handler = Callable[[HttpRequest], Any]
THEMES = ("dark", "light")


@register.simple_tag
def site_url(label: str, view: str = "index", *args: object) -> str:
    """The absolute address of a view on any site: `site_url("status", "incident", 7)`.

    Raises KeyError for a label that is not in SITES, NoReverseMatch for a view that site has not.
    """
    path = reverse(view, urlconf=SITES[label].urlconf, args=args)  # type: ignore[arg-type]  # Django takes a tuple
    scheme, _, host = settings.SITES_ORIGIN.partition("://")
    return f"{scheme}://{label}.{host}{path}" if label else settings.SITES_ORIGIN + path


def site_of(host: str) -> Site | None:
    """The site that a Host header names; None for a stranger."""
    name = host.lower().partition(":")[0]
    if name == settings.DOMAIN:
        return SITES[""]
    label, _, domain = name.partition(".")
    return SITES.get(label) if label and domain == settings.DOMAIN else None


def page(request: HttpRequest) -> dict[str, Any]:
    """What every template may use: the site it is on, all sites, the chosen theme, the version."""
    theme = request.COOKIES.get("theme")
    return {
        "site": getattr(request, "site", None),
        "sites": SITES.values(),
        # None follows the system's setting.
        "theme": theme if theme in THEMES else None,
        "version": VERSION,
    }


def enter(request: HttpRequest) -> HttpResponse | None:
    """Give the request its site and that site's urls; a stranger gets the 404 to answer with."""
    site = site_of(request.META.get("HTTP_HOST", ""))
    if site is None:
        return HttpResponseNotFound(render_to_string("404.html", page(request)))
    request.site = site  # type: ignore[attr-defined]
    request.urlconf = site.urlconf  # type: ignore[attr-defined]
    return None


def leave(response: HttpResponse) -> HttpResponse:
    """The headers that neither SecurityMiddleware nor the CSP middleware sets."""
    response.headers.setdefault("Permissions-Policy", settings.PERMISSIONS_POLICY)
    response.headers.setdefault("Cross-Origin-Resource-Policy", "same-site")
    response.headers.setdefault("X-Frame-Options", "DENY")
    return response


@sync_and_async_middleware
def SiteMiddleware(get_response: Handler) -> Handler:
    """Outermost of ours: sets `request.site` and `request.urlconf`, and every answer's headers."""
    if iscoroutinefunction(get_response):

        async def asynchronous(request: HttpRequest) -> HttpResponse:
            return leave(enter(request) or await get_response(request))

        return asynchronous

    def synchronous(request: HttpRequest) -> HttpResponse:
        return leave(enter(request) or get_response(request))

    return synchronous
