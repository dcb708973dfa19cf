"""The daemon as a Django app."""

from django.apps import AppConfig


class DaemonConfig(AppConfig):
    name = "cli.daemon"
    label = "daemon"
