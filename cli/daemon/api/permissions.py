"""Permission rules, and the requests that wait for an answer."""

from typing import Annotated

from django.http import HttpRequest
from ninja import Query, Router
from ninja.responses import Status

from cli.daemon import auth, hub, rules
from cli.protocol.permissions import RequestList, RuleAdd, RuleList, RulesOf, RuleView
from cli.protocol.socket import PermissionDecision

router = Router()


@router.get("permissions/rules", response=RuleList)
async def list_rules(request: HttpRequest, asked: Annotated[RulesOf, Query()]) -> RuleList:
    return RuleList(rules=await hub.of(request).database(rules.listed, asked.session))


@router.post("permissions/rules", response={200: RuleView, 201: RuleView})
async def add_rule(request: HttpRequest, body: RuleAdd) -> Status[RuleView]:
    view, created = await hub.of(request).database(rules.add, body)
    return Status(201 if created else 200, view)


@router.delete("permissions/rules/{id}", response={204: None})
async def remove_rule(request: HttpRequest, id: str, asked: Annotated[RulesOf, Query()]) -> Status[None]:
    await hub.of(request).database(rules.remove, id, asked.session)
    return Status(204, None)


@router.get("permissions/requests", response=RequestList)
async def list_requests(request: HttpRequest, asked: Annotated[RulesOf, Query()]) -> RequestList:
    return RequestList(requests=hub.of(request).questions.waiting(asked.session))


@router.post("sessions/{id}/permissions", response={204: None})
async def answer_request(request: HttpRequest, id: str, body: PermissionDecision) -> Status[None]:
    """The first answer holds; whoever comes later is told that the request is open no more."""
    await hub.of(request).questions.resolve(id, body, auth.caller_of(request))
    return Status(204, None)
