"""The daemon as a Django app."""

from django.apps import AppConfig

from opta import signals


class DaemonConfig(AppConfig):
    name = "cli.daemon"
    label = "daemon"

    def ready(self) -> None:
        signals.leave_databases_alone()  # the one there is has a thread of its own
