"""The entry of every role: HTTP, and WebSocket where the role's settings name an application."""

import os

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.utils.module_loading import import_string

# A server that is told nothing serves the sites; the daemon and LMX name their settings before.
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "opta.settings.sites")


def make_application() -> object:
    http = get_asgi_application()
    if not settings.WEBSOCKETS:
        return http
    from channels.routing import ProtocolTypeRouter

    return ProtocolTypeRouter({"http": http, "websocket": import_string(settings.WEBSOCKETS)})


application = make_application()
