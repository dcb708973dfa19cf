"""What the worker does for the status site."""

import asyncio

from celery import shared_task
from celery.worker import state as worker
from django.utils import timezone

from apps.status.models import forget, record
from apps.status.probes import Result, probe_all
from apps.status.registry import services


@shared_task
def poll() -> None:
    """Ask every service and keep what was found."""
    at = timezone.now()
    record(asyncio.run(found()), at)


async def found() -> list[Result]:
    """Every result; none when the worker is told to stop, for a stop shall not wait for a slow service."""
    probing = asyncio.ensure_future(probe_all(services()))
    while not probing.done() and worker.should_stop is None:
        await asyncio.wait({probing}, timeout=0.2)
    if probing.done():
        return probing.result()
    probing.cancel()
    return []


@shared_task
def prune() -> None:
    """Delete the checks that are older than the page can show."""
    forget(timezone.now())
