"""Turns: submitted, steered, cancelled."""

from django.http import HttpRequest
from ninja import Router
from ninja.responses import Status

from cli.daemon import hub
from cli.protocol.requests import SteerView, TurnCancel, TurnsCancelled, TurnSteer, TurnSubmit, TurnView

router = Router()


@router.post("sessions/{id}/turns", response={202: TurnView})
async def submit_turn(request: HttpRequest, id: str, body: TurnSubmit) -> Status[TurnView]:
    return Status(202, await hub.of(request).turns.submit(id, body))


@router.post("sessions/{id}/turns/{turn}/steer", response={202: SteerView})
async def steer_turn(request: HttpRequest, id: str, turn: str, body: TurnSteer) -> Status[SteerView]:
    return Status(202, await hub.of(request).turns.steer(id, turn, body))


@router.post("sessions/{id}/cancel", response=TurnsCancelled)
async def cancel_turns(request: HttpRequest, id: str, body: TurnCancel) -> TurnsCancelled:
    return TurnsCancelled(turns=await hub.of(request).turns.cancel(id, body.turn))
