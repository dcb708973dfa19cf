"""Names the app to Django."""

from django.apps import AppConfig


class GuidesConfig(AppConfig):
    name = "apps.guides"
