"""Home, and the pages of help and learn: the same for everybody, so any cache may keep them."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe

from apps.guides.catalog import Page, pages

kept = cache_control(public=True, max_age=60)


@require_safe
@kept
def home(request: HttpRequest) -> HttpResponse:
    return render(request, "guides/home.html")


@require_safe
@kept
def index(request: HttpRequest, site: str, listed: list[Page]) -> HttpResponse:
    return render(request, f"guides/{site}.html", {"pages": listed})


@require_safe
@kept
def page(request: HttpRequest, page: Page, listed: list[Page]) -> HttpResponse:
    return render(request, "guides/page.html", {"page": page, "pages": listed})


def routes(site: str) -> list[URLPattern]:
    """An index, and a named route for each page: a link to no page fails where it is written."""
    listed = pages(site)
    return [
        path("", index, {"site": site, "listed": listed}, name="index"),
        *(path(each.slug, page, {"page": each, "listed": listed}, name=each.slug) for each in listed),
    ]
