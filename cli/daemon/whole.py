"""What is done to its end once it has begun, whoever stops waiting for it."""

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any, TypeVar

from cli.daemon.models import Lost, Taken
from opta.errors import Refusal

log = logging.getLogger(__name__)

T = TypeVar("T")


async def whole(work: Awaitable[T]) -> T:
    """What `work` comes to; a caller that is cancelled meanwhile leaves it going on."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.add_done_callback(unheard)
        raise


def unheard(task: asyncio.Future[Any]) -> None:
    """An end that nobody waits for: a refusal is nobody's any more, a defect is the log's."""
    error = None if task.cancelled() else task.exception()
    if error and not isinstance(error, Refusal | Lost | Taken):
        log.error("what nobody waited for any more failed", exc_info=error)
