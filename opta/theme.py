"""The colours a visitor chose: a cookie on the parent domain, so the server renders them at once."""

from typing import Final

from django.conf import settings
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

COOKIE: Final = "theme"
THEMES: Final = ("dark", "light")
YEAR: Final = 365 * 24 * 3600


def chosen(request: HttpRequest) -> str | None:
    """The theme in the cookie; None follows the system."""
    theme = request.COOKIES.get(COOKIE)
    return theme if theme in THEMES else None


# A CSRF token would make every page set a cookie, and the worst a forged request can do is change colours.
@csrf_exempt
@require_POST
def choose(request: HttpRequest) -> HttpResponse:
    """POST /theme: keep `theme` and go back to `next`, a path of this host."""
    theme, back = request.POST.get("theme"), request.POST.get("next", "/")
    response = redirect(back if url_has_allowed_host_and_scheme(back, allowed_hosts=None) else "/")
    domain = settings.SESSION_COOKIE_DOMAIN
    if theme == "system":
        response.delete_cookie(COOKIE, domain=domain, samesite="Lax")
    elif theme in THEMES:
        secure = settings.SESSION_COOKIE_SECURE
        response.set_cookie(
            COOKIE, theme, max_age=YEAR, domain=domain, secure=secure, httponly=True, samesite="Lax"
        )
    else:
        raise BadRequest(f"theme={theme!r}: send dark, light or system.")
    return response
