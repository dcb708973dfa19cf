"""The Celery app and its timetable.

`celery --app opta.celery worker --timetable --pool threads` is worker and timetable in one process.
"""

import os
from typing import Any

import click
from celery import Celery, bootsteps
from celery.beat import EmbeddedService, Scheduler
from celery.schedules import crontab
from celery.signals import worker_ready, worker_shutting_down

from opta.broker import transport

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opta.settings.sites")

POLL = "apps.status.tasks.poll"
# A poll that could not start before the next one is due is dropped: the gap is shown as unknown.
POLL_EXPIRES = 25


class Timetable(bootsteps.StartStopStep):
    """`--timetable`: beat as a thread of the worker.

    Celery's own `--beat` forks a process, which outlives a killed worker and goes on filling the queue.
    """

    def __init__(self, worker: Any, timetable: bool = False, **options: Any) -> None:
        super().__init__(worker, **options)
        self.enabled = timetable

    def create(self, worker: Any) -> Any:
        # In memory: a timetable kept in a file would catch up on what was missed, and can be found broken.
        beat: Any = EmbeddedService(worker.app, thread=True, scheduler_cls=Scheduler)
        # Told with the signal, it is gone when the worker's loop, up to two seconds later, asks it to stop.
        worker_shutting_down.connect(lambda **_: beat.service.stop(), weak=False)
        return beat


app = Celery("opta")
app.conf.update(
    transport(),
    timezone="UTC",
    task_ignore_result=True,
    worker_hijack_root_logger=False,
    # Nobody asks the worker anything while it runs: no control queue, no events.
    worker_enable_remote_control=False,
    broker_connection_retry_on_startup=True,
    beat_schedule={
        "poll": {"task": POLL, "schedule": 30.0, "options": {"expires": POLL_EXPIRES}},
        "prune": {"task": "apps.status.tasks.prune", "schedule": crontab(minute=7)},
    },
)
app.autodiscover_tasks()
app.steps["worker"].add(Timetable)
app.user_options["worker"].add(
    click.Option(["--timetable"], is_flag=True, help="Also send what is due, from a thread of this process.")
)


@worker_ready.connect
def poll_at_once(**_: Any) -> None:
    """The first results come with the start, once what starts beside the worker had time to answer."""
    app.send_task(POLL, countdown=4, expires=POLL_EXPIRES)
