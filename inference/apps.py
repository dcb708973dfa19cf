"""LMX as a Django app: it names the management commands, and has no tables yet."""

from django.apps import AppConfig


class InferenceConfig(AppConfig):
    name = "inference"
    verbose_name = "LMX"
