"""LMX, the inference server: choices are in `inference/config.py`, this is only the wiring."""

from opta.settings.base import *

ROOT_URLCONF = "inference.urls"
INSTALLED_APPS = ["inference"]
MIDDLEWARE = ["inference.api.auth.middleware", "inference.api.answers.engine_header"]
# LMX may be served to a LAN under names that are the user's to choose: its middleware checks the Host.
ALLOWED_HOSTS = ["*"]
