"""The status app: what is up, measured."""

from django.apps import AppConfig


class StatusConfig(AppConfig):
    name = "apps.status"
