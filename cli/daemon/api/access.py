"""Who may ask the daemon: tokens for other programs, and a code for a browser."""

from django.http import HttpRequest, HttpResponse
from ninja import Router
from ninja.responses import Status

from cli.daemon import auth, hub
from cli.daemon.access import page
from cli.daemon.access.browsers import CODE_SECONDS, STAY, BadCode
from cli.daemon.access.keys import cookie_name
from cli.protocol.access import (
    CallerView,
    CodeCreate,
    CodeExchange,
    CodeView,
    TokenCreate,
    TokenCreated,
    TokenList,
)

router = Router()


@router.get("access", response=CallerView)
async def get_caller(request: HttpRequest) -> CallerView:
    return CallerView.model_validate(auth.caller_of(request), from_attributes=True)


@router.get("access/tokens", response=TokenList)
async def list_tokens(request: HttpRequest) -> TokenList:
    return hub.of(request).keys.tokens.listed()


@router.post("access/tokens", response={201: TokenCreated})
async def create_token(request: HttpRequest, body: TokenCreate) -> Status[TokenCreated]:
    here = hub.of(request)
    return Status(201, await here.database(here.keys.tokens.create, body))


@router.delete("access/tokens/{id}", response={204: None})
async def revoke_token(request: HttpRequest, id: str) -> Status[None]:
    here = hub.of(request)
    await here.database(here.keys.tokens.revoke, id)
    here.keys.connections.end(id)
    return Status(204, None)


@router.post("access/codes", response={201: CodeView})
async def create_code(request: HttpRequest, body: CodeCreate) -> Status[CodeView]:
    """A code with which one browser gets in: open `path` in it, with # and the code behind."""
    code = hub.of(request).keys.browsers.invite(body.scope)
    return Status(201, CodeView(code=code, path="/v3/access/open", expires_in=CODE_SECONDS))


@router.get("access/open")
async def open_page(request: HttpRequest) -> HttpResponse:
    """The page that brings the code."""
    return HttpResponse(page.HTML, headers=page.HEADERS)


@router.post("access/browser", response=CallerView)
async def enter(request: HttpRequest, response: HttpResponse, body: CodeExchange) -> CallerView:
    """Let a browser in: its code becomes a cookie."""
    keys = hub.of(request).keys
    try:
        cookie, caller = keys.browsers.admit(body.code)
    except BadCode as bad:
        raise keys.denied(request.META["REMOTE_ADDR"], bad) from bad
    response.set_cookie(
        cookie_name(int(request.META["SERVER_PORT"])),
        cookie,
        max_age=STAY,
        path="/v3",
        httponly=True,
        samesite="Strict",
    )
    return CallerView.model_validate(caller, from_attributes=True)


@router.delete("access/browser", response={204: None})
async def leave(request: HttpRequest, response: HttpResponse) -> Status[None]:
    """Sign a browser out; what it has open ends."""
    keys, caller = hub.of(request).keys, auth.caller_of(request)
    keys.browsers.leave(caller)
    keys.connections.end(caller.id)
    response.delete_cookie(cookie_name(int(request.META["SERVER_PORT"])), path="/v3", samesite="Strict")
    return Status(204, None)
