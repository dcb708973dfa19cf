"""Who else may ask the daemon: tokens for other programs, and a code for a browser."""

from urllib.parse import quote

from cli.clients.daemon import Daemon, checked
from cli.protocol.access import CodeCreate, CodeView, Scope, TokenCreate, TokenCreated, TokenList, TokenView

TOKENS = "/v3/access/tokens"


def create(daemon: Daemon, name: str, scope: Scope, expires_in: int | None) -> TokenCreated:
    body = checked(TokenCreate, name=name, scope=scope, expires_in=expires_in)
    return TokenCreated.model_validate_json(daemon.call("POST", TOKENS, body))


def tokens(daemon: Daemon) -> list[TokenView]:
    return TokenList.model_validate_json(daemon.call("GET", TOKENS)).tokens


def revoke(daemon: Daemon, id: str) -> None:
    daemon.call("DELETE", f"{TOKENS}/{quote(id, safe='')}")


def invitation(daemon: Daemon, scope: Scope) -> str:
    """The URL that lets one browser in; the code stands behind the #, which no server and no log sees."""
    code = CodeView.model_validate_json(daemon.call("POST", "/v3/access/codes", CodeCreate(scope=scope)))
    return f"{daemon.address.url}{code.path}#{code.code}"
