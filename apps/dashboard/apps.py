"""Names the app to Django."""

from django.apps import AppConfig


class DashboardConfig(AppConfig):
    name = "apps.dashboard"
