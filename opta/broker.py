"""What carries the worker's messages: Redis when there is one, else folders of files."""

from typing import Any

from django.conf import settings
from kombu.transport import filesystem

from opta import paths


class Folder(filesystem.Transport):
    """Kombu's folder of messages, looked into four times a second.

    The worker waits for messages in bites of two seconds, and takes one more bite after it was told
    to stop; short bites make a short stop.
    """

    polling_interval = bite = 0.25

    def drain_events(self, connection: Any, timeout: float | None = None, **options: Any) -> None:
        bite = min(timeout, self.bite) if timeout else timeout
        super().drain_events(connection, timeout=bite, **options)


def transport() -> dict[str, Any]:
    """Celery's settings for it; folders need nothing installed, and serve one machine only."""
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
