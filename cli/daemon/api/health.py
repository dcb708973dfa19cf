"""Whether the daemon is there, and the schema of what it says."""

import os
from time import monotonic
from typing import Any

from django.http import HttpRequest
from ninja import Router

from cli.daemon import hub
from cli.protocol import events, socket
from cli.protocol.requests import Health
from opta.version import VERSION

router = Router()


@router.get("health", response=Health)
async def health(request: HttpRequest) -> Health:
    here = hub.of(request)
    return Health(
        service="opta-daemon",
        status="ok",
        version=VERSION,
        protocol=events.VERSION,
        pid=os.getpid(),
        uptime_seconds=round(monotonic() - here.started, 3),
        active_turns=len(here.turns.running),
    )


@router.get("schema")
async def schema(request: HttpRequest) -> dict[str, Any]:
    """JSON Schema of every event, and of every message of the WebSocket."""
    return socket.schema()
