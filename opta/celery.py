"""The Celery app and its timetable."""

import os
from typing import Any

from celery import Celery
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opta.settings.sites")

from opta import paths  # noqa: E402


def transport() -> dict[str, Any]:
    """Redis when there is one; else folders of files, so that nothing needs installing."""
    if settings.REDIS_URL:
        return {"broker_url": settings.REDIS_URL, "result_backend": settings.REDIS_URL}
    folder = paths.private(settings.DATA / "celery")
    inbox, results, control = (paths.private(folder / name) for name in ("queue", "results", "control"))
    return {
        "broker_url": "filesystem://",
        "broker_transport_options": {
            "data_folder_in": str(inbox),
            "data_folder_out": str(inbox),
            "control_folder": str(control),
        },
        "result_backend": results.as_uri(),
    }


app = Celery("opta")
app.conf.update(
    transport(),
    timezone="UTC",
    task_ignore_result=True,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    beat_schedule_filename=str(settings.DATA / "celery-beat"),
    beat_schedule={
        # A poll that could not start before the next one is due is dropped: the gap is shown as unknown.
        "poll": {"task": "apps.status.tasks.poll", "schedule": 30.0, "options": {"expires": 25}},
    },
)
app.autodiscover_tasks()
