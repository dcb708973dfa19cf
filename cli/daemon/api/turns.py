"""Turns: submitted, cancelled."""

from django.http import HttpRequest
from ninja import Router
from ninja.responses import Status

from cli.daemon import hub
from cli.protocol.requests import TurnCancel, TurnsCancelled, TurnSubmit, TurnView

router = Router()


@router.post("sessions/{id}/turns", response={202: TurnView})
async def submit_turn(request: HttpRequest, id: str, body: TurnSubmit) -> Status[TurnView]:
    return Status(202, await hub.of(request).turns.submit(id, body))


@router.post("sessions/{id}/cancel", response=TurnsCancelled)
async def cancel_turns(request: HttpRequest, id: str, body: TurnCancel) -> TurnsCancelled:
    here = hub.of(request)
    await here.logs.of(id).load()  # raises for an unknown session
    return TurnsCancelled(turns=await here.turns.cancel(id, body.turn))
