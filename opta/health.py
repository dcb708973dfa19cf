"""`/api/health` of every site: can this host do its work right now?"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from django.db import connection
from django.http import JsonResponse
from django.template.loader import get_template
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from opta.version import VERSION

if TYPE_CHECKING:
    from opta.hosts import SiteRequest

STARTED = time.monotonic()


def database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def templates() -> None:
    get_template("base.html")


CHECKS: dict[str, Callable[[], None]] = {"database": database, "templates": templates}


def result(name: str) -> str:
    """ "ok", or what is wrong. The kind of error only: a stranger may read this page."""
    try:
        CHECKS[name]()
    except Exception as error:  # whatever a check raises is its finding
        return type(error).__name__
    return "ok"


@require_safe
@never_cache
def view(request: "SiteRequest") -> JsonResponse:
    site = request.site
    checks = {name: result(name) for name in site.checks}
    healthy = all(found == "ok" for found in checks.values())
    body = {
        "status": "ok" if healthy else "failing",
        "service": site.label or "home",
        "version": VERSION,
        "timestamp": datetime.now(UTC).isoformat(),
        "uptime_seconds": round(time.monotonic() - STARTED, 3),
        "checks": checks,
    }
    return JsonResponse(body, status=200 if healthy else 503)
