"""The daemon makes room for its successor: a newer one, or itself started anew."""

from django.http import HttpRequest
from ninja import Router
from ninja.responses import Status

from cli.daemon import hub
from cli.protocol.requests import HandOff

router = Router()


@router.post("handoff", response={202: None})
async def hand_off(request: HttpRequest, body: HandOff) -> Status[None]:
    """Begin no more turns, let those that run end within `seconds`, and end. Whoever asks starts the next
    daemon, in which the turns that wait go on."""
    hub.of(request).lifetime.hand_off(body.seconds)
    return Status(202, None)
