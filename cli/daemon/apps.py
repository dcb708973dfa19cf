"""The daemon as a Django app."""

from django.apps import AppConfig
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, reset_queries


class DaemonConfig(AppConfig):
    name = "cli.daemon"
    label = "daemon"

    def ready(self) -> None:
        # The database has a thread of its own; these would start one for each request, to look after nothing.
        request_started.disconnect(reset_queries)
        request_started.disconnect(close_old_connections)
        request_finished.disconnect(close_old_connections)
