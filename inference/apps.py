"""LMX as a Django app: it names the management commands, and has no tables yet."""

from django.apps import AppConfig

from opta import signals


class InferenceConfig(AppConfig):
    name = "inference"
    verbose_name = "LMX"

    def ready(self) -> None:
        signals.leave_databases_alone()
