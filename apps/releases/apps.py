"""Names the app to Django."""

from django.apps import AppConfig


class ReleasesConfig(AppConfig):
    name = "apps.releases"
