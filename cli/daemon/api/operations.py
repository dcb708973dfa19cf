"""Operations: what can be done to the daemon, by its name, for clients that offer all of it."""

import asyncio
from collections.abc import Mapping
from functools import cache
from io import BytesIO

from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponseBase
from django.urls import resolve
from ninja import Router
from pydantic import ValidationError

from cli.daemon import auth, hub
from cli.daemon.access.scopes import needed
from cli.daemon.errors import Unknown
from cli.operations.table import OPERATIONS, Operation, Request
from cli.protocol.access import Scope
from cli.protocol.operations import OperationList, OperationRun, OperationView
from opta.api import from_validation
from opta.errors import Refusal

router = Router()


class UnknownOperation(Unknown):
    code = "unknown_operation"
    wording = "There is no operation {}. GET /v3/operations lists those there are."


class Unconfirmed(Refusal):
    """The operation is dangerous, and nobody said that it is meant."""

    status = 409
    code = "confirmation_required"

    def __init__(self, id: str, operation: Operation, given: Mapping[str, object]) -> None:
        of = ", ".join(f"{place} {given[place]}" for place in operation.places)
        what = f"{id} of {of}" if of else id
        super().__init__(
            f'{what} is not done without being confirmed. {operation.danger} Send it with "confirm": true.',
            field="confirm",
        )


@router.get("operations", response=OperationList)
async def list_operations(request: HttpRequest) -> OperationList:
    return await asyncio.to_thread(listed)


@router.post("operations/{id}")
async def run_operation(request: HttpRequest, id: str, body: OperationRun) -> HttpResponseBase:
    """Run the operation's own route, and answer what that answers."""
    if id not in OPERATIONS:
        raise UnknownOperation(id)
    operation = OPERATIONS[id]
    hub.of(request).keys.permit(auth.caller_of(request), scope(operation), id, write=False)
    try:
        asked = operation.request(body.input)
    except ValidationError as invalid:
        raise from_validation(
            [{**error, "loc": ("body", "", "input", *error["loc"])} for error in invalid.errors()]
        ) from invalid
    if operation.danger and not body.confirm:
        raise Unconfirmed(id, operation, body.input)
    return await answer(request, asked)


async def answer(request: HttpRequest, asked: Request) -> HttpResponseBase:
    """What the route says to this request, by the same caller."""
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(asked.body)).encode())]
    inner = ASGIRequest(
        {
            **request.scope,  # type: ignore[attr-defined]  # an ASGIRequest
            "method": asked.method,
            "path": asked.path,
            "query_string": asked.query.encode(),
            "headers": headers,
        },
        BytesIO(asked.body),
    )
    route = resolve(asked.path)
    found: HttpResponseBase = await route.func(inner, *route.args, **route.kwargs)
    return found


@cache  # 60 ms: forty schemas are made
def listed() -> OperationList:
    return OperationList(operations=[view(id, operation) for id, operation in OPERATIONS.items()])


def view(id: str, operation: Operation) -> OperationView:
    return OperationView(
        id=id,
        summary=operation.summary,
        safety=operation.safety,
        danger=operation.danger,
        scope=scope(operation),
        method=operation.method,
        path=operation.path,
        input=operation.input.model_json_schema(),
    )


def scope(operation: Operation) -> Scope:
    """What its route asks for. Who asks for an operation has shown a key already."""
    need = needed(operation.method, operation.path)
    return "read" if need == "open" else need
