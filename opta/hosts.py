"""Which site a request is for, addresses across sites, and what every page and answer carries."""

from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django import template
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseNotFound
from django.template.loader import render_to_string
from django.utils.cache import patch_vary_headers
from django.utils.decorators import sync_and_async_middleware

from opta import theme
from opta.urls import SITES, Site
from opta.version import VERSION

register = template.Library()
Handler = Callable[[HttpRequest], Any]


class SiteRequest(HttpRequest):
    """A request after SiteMiddleware: it knows its site."""

    site: Site  # type: ignore[assignment]  # the stubs think of django.contrib.sites, which is not installed


@register.simple_tag
def site_url(label: str, view: str = "index", *args: object) -> str:
    """The absolute address of a view on any site: `site_url("status", "incident", 7)`.

    Raises KeyError for a label that is not in SITES, NoReverseMatch for a view that site has not.
    """
    return SITES[label].url(view, *args)


@register.simple_block_tag
def captured(content: str) -> str:
    """Its content, to be kept by `as name` and written twice: in the title and for Open Graph."""
    return content


def site_of(host: str) -> Site | None:
    """The site that a Host header names; None for a stranger."""
    name = host.lower().partition(":")[0].removesuffix(".")
    if name == settings.DOMAIN:
        return SITES[""]
    label, _, domain = name.partition(".")
    return SITES.get(label) if label and domain == settings.DOMAIN else None


def page(request: HttpRequest) -> dict[str, Any]:
    """What every template may use: the site it is on, all sites, the chosen theme, the version."""
    return {
        "site": getattr(request, "site", None),
        "sites": SITES.values(),
        "theme": theme.chosen(request),
        "version": VERSION,
    }


def enter(request: HttpRequest) -> HttpResponse | None:
    """Give the request its site and that site's urls; a stranger gets the 404 to answer with."""
    site = site_of(request.META.get("HTTP_HOST", ""))
    if site is None:
        return HttpResponseNotFound(render_to_string("404.html", page(request)))
    request.site = site  # type: ignore[assignment]  # as above
    request.urlconf = site.urlconf  # type: ignore[assignment]  # a tuple does as well as a module's name
    return None


def leave(response: HttpResponse) -> HttpResponse:
    """Set the headers that every answer carries; a page also says that the theme's cookie changes it."""
    for name, value in settings.HEADERS.items():
        response.headers[name] = value
    if response.headers.get("Content-Type", "").startswith("text/html"):
        patch_vary_headers(response, ["Cookie"])
    return response


@sync_and_async_middleware
def SiteMiddleware(get_response: Handler) -> Handler:
    """Set `request.site` and `request.urlconf`, and every answer's headers, whoever made the answer."""
    if iscoroutinefunction(get_response):

        async def asynchronous(request: HttpRequest) -> HttpResponse:
            return leave(enter(request) or await get_response(request))

        return asynchronous

    def synchronous(request: HttpRequest) -> HttpResponse:
        return leave(enter(request) or get_response(request))

    return synchronous
