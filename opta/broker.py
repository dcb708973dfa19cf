"""What carries the worker's messages: Redis when there is one, else a folder of files."""

import logging
import time
import uuid
from pathlib import Path
from queue import Empty
from typing import Any

from django.conf import settings
from kombu.transport import filesystem
from kombu.utils.json import dumps, loads

from opta import paths

log = logging.getLogger(__name__)


class Channel(filesystem.Channel):
    """Kombu's, but a message is there whole or not at all, and never leaves its private folder.

    Kombu's own reader takes files that are still being written and fails on the half it finds, and it
    moves each message through /tmp.
    """

    # Kombu's two base classes have two names for the payload.
    def _put(self, queue: str, payload: Any, **options: Any) -> None:  # type: ignore[override]  # as above
        name = f"{time.time_ns()}_{uuid.uuid4()}"
        draft = Path(self.data_folder_out) / f"{name}.draft"
        draft.write_text(dumps(payload))
        draft.rename(draft.with_name(f"{name}.{queue}.msg"))

    def _get(self, queue: str, timeout: float | None = None) -> Any:
        for file in sorted(Path(self.data_folder_in).glob(f"*.{queue}.msg")):
            taken = file.with_suffix(".taken")
            try:
                file.rename(taken)
                message = loads(taken.read_text())
            except FileNotFoundError:
                continue  # another worker was first
            except ValueError:
                log.error(
                    "%s holds no whole message (a crash?): it is left aside, and the next one read.", taken
                )
                continue
            taken.unlink()
            return message
        raise Empty


class Folder(filesystem.Transport):
    """A folder of messages, looked into four times a second.

    The worker waits for messages in bites of two seconds, and takes one more bite after it was told
    to stop; short bites make a short stop.
    """

    Channel = Channel
    polling_interval = bite = 0.25

    def drain_events(self, connection: Any, timeout: float | None = None, **options: Any) -> None:
        bite = min(timeout, self.bite) if timeout else timeout
        super().drain_events(connection, timeout=bite, **options)


def transport() -> dict[str, Any]:
    """Celery's settings for it; a folder needs nothing installed, and serves one machine only."""
    if settings.REDIS_URL:
        return {"broker_url": settings.REDIS_URL, "result_backend": settings.REDIS_URL}
    folder = paths.private(settings.DATA / "celery")
    queue, control, results = (str(paths.private(folder / name)) for name in ("queue", "control", "results"))
    return {
        "broker_url": "filesystem://localhost",
        "broker_transport": "opta.broker:Folder",
        "broker_transport_options": {
            "data_folder_in": queue,
            "data_folder_out": queue,
            "control_folder": control,
        },
        "result_backend": f"file://{results}",
    }
