"""What the probes found, as rows."""

from datetime import datetime, timedelta

from django.db import models

from apps.status.probes import REASON_LIMIT, Result, State

KEPT = timedelta(days=8)


class Check(models.Model):
    """One service at one time: the checks of one poll share `at`, the time it began."""

    service = models.CharField(max_length=32)
    at = models.DateTimeField()
    state = models.CharField(max_length=8, choices=[(s.value, s.value) for s in State if s != State.UNKNOWN])
    latency_ms = models.PositiveIntegerField(null=True)
    reason = models.CharField(max_length=REASON_LIMIT, blank=True)

    class Meta:
        # Also the index that the page and the retention read by: both ask for a range of time.
        constraints = [models.UniqueConstraint(fields=["at", "service"], name="one_check_at_a_time")]

    def __str__(self) -> str:
        return f"{self.service} {self.state} at {self.at:%F %T}"


def record(results: list[Result], at: datetime) -> None:
    """Keep what a poll found, in one statement."""
    rows = [
        Check(service=r.service, at=at, state=r.state, latency_ms=r.latency_ms, reason=r.reason)
        for r in results
    ]
    Check.objects.bulk_create(rows)


def forget(now: datetime) -> int:
    """Delete what is older than KEPT; returns how many rows that was."""
    return Check.objects.filter(at__lt=now - KEPT).delete()[0]
