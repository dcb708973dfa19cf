"""The facts of the status site, read once: the page, the stream and /api/summary.json all show these."""

from datetime import datetime
from itertools import groupby
from operator import attrgetter

from django.db.models import Max
from pydantic import BaseModel, ConfigDict

from apps.status.history import STALE, Run, hour, opening, present, worst
from apps.status.models import Check
from apps.status.probes import State
from apps.status.registry import Service, services


class Fact(BaseModel):
    model_config = ConfigDict(frozen=True)


class LastCheck(Fact):
    """The newest measurement, however old; `latency_ms` is null when nothing answered."""

    model_config = ConfigDict(frozen=True, from_attributes=True)
    at: datetime
    state: State
    latency_ms: int | None
    reason: str


class ServiceStatus(Fact):
    """One service: its state now (unknown when the last check is stale), and the last hour by the minute."""

    slug: str
    name: str
    about: str
    state: State
    last: LastCheck | None
    hour: list[Run]


class Summary(Fact):
    """`state` is the worst of the services; `headline` and `detail` say it in words."""

    state: State
    headline: str
    detail: str
    checked_at: datetime | None
    services: list[ServiceStatus]


def status(service: Service, checks: list[Check], now: datetime) -> ServiceStatus:
    return ServiceStatus(
        slug=service.slug,
        name=service.name,
        about=service.about,
        state=present(checks, now),
        last=LastCheck.model_validate(checks[-1]) if checks else None,
        hour=hour(checks, now),
    )


def headline(found: list[ServiceStatus]) -> str:
    if all(one.last is None for one in found):
        return "No check yet"
    if all(one.state == State.UNKNOWN for one in found):
        return "Nobody knows: the checks have stopped"
    online = sum(one.state == State.ONLINE for one in found)
    if online == len(found):
        return f"All {online} services are online"
    return f"{online} of {len(found)} services are online"


def detail(found: list[ServiceStatus]) -> str:
    """Which services are not online, and what they are; empty when all are."""
    wrong = [f"{one.name} is {one.state}" for one in found if one.state != State.ONLINE]
    return f"{', '.join(wrong)}." if wrong else ""


def read(now: datetime) -> Summary:
    """Two queries: when the last check was, and the checks that the last hour is told from."""
    checked_at = Check.objects.aggregate(newest=Max("at"))["newest"]
    since = min(opening(now) - STALE, checked_at or now)
    rows = Check.objects.filter(at__gte=since).order_by("service", "at")
    checks = {slug: list(group) for slug, group in groupby(rows, key=attrgetter("service"))}
    found = [status(service, checks.get(service.slug, []), now) for service in services()]
    return Summary(
        state=worst(one.state for one in found),
        headline=headline(found),
        detail=detail(found),
        checked_at=checked_at,
        services=found,
    )
