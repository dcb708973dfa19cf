"""The tokens of other programs: made, listed, revoked. Only their hashes are kept, in one file."""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from errno import EDQUOT, ENOSPC
from pathlib import Path

from pydantic import BaseModel, ValidationError

from cli.config import ConfigError
from cli.daemon.errors import StorageFailed, StorageFull, Unknown
from cli.protocol.access import Scope, TokenCreate, TokenCreated, TokenList, TokenView
from opta import paths
from opta.errors import Refusal

# Found again in a log or a repository by whoever scans for secrets.
PREFIX = "opta_"
# Each is compared with what a request brings.
MOST = 100


@dataclass(frozen=True)
class Caller:
    """Who asks: by `id` its connections and its rate are counted."""

    id: str
    name: str
    scope: Scope
    expires: datetime | None = None
    browser: bool = False


class UnknownToken(Unknown):
    code = "unknown_token"
    wording = "There is no token {}. `opta daemon token list` shows those there are."


class Stored(TokenView):
    """A token as it lies in the file. 256 random bits need no salt and no slow hash."""

    sha256: str


class Store(BaseModel):
    tokens: list[Stored] = []


def utc() -> datetime:
    return datetime.now(UTC)


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


def read(file: Path) -> list[Stored]:
    """Raises ConfigError for a file that somebody else wrote."""
    try:
        return Store.model_validate_json(file.read_bytes()).tokens
    except FileNotFoundError:
        return []
    except ValidationError as error:
        message = f"{file}: it holds no tokens of ours. Delete it, and make them anew."
        raise ConfigError(message) from error


class Tokens:
    """The file's contents in memory; what changes is stored first."""

    def __init__(self, file: Path, clock: Callable[[], datetime] = utc) -> None:
        self.file, self.clock = file, clock
        self.stored = read(file)

    def caller(self, given: str) -> Caller | None:
        """Whose token this is. All are compared, each in constant time."""
        known = digest(given)
        found = [each for each in self.stored if hmac.compare_digest(each.sha256, known)]
        return next((caller(each) for each in found if self.holds(each)), None)

    def create(self, body: TokenCreate) -> TokenCreated:
        """Raises Refusal when there are too many, StorageFull or StorageFailed."""
        valid = [each for each in self.stored if self.holds(each)]
        if len(valid) >= MOST:
            message = f"There are {MOST} tokens. Revoke one first: opta daemon token list"
            raise Refusal(message, status=409, code="conflict")
        now, token = self.clock(), PREFIX + secrets.token_urlsafe(32)
        expires = now + timedelta(seconds=body.expires_in) if body.expires_in else None
        view = TokenView(
            id=secrets.token_hex(4), name=body.name, scope=body.scope, created=now, expires=expires
        )
        self.save([*valid, Stored(**view.model_dump(), sha256=digest(token))])
        return TokenCreated(**view.model_dump(), token=token)

    def listed(self) -> TokenList:
        return TokenList(tokens=[each for each in self.stored if self.holds(each)])

    def revoke(self, id: str) -> None:
        """Raises UnknownToken, StorageFull or StorageFailed."""
        kept = [each for each in self.stored if each.id != id]
        if len(kept) == len(self.stored):
            raise UnknownToken(id)
        self.save(kept)

    def holds(self, token: TokenView) -> bool:
        return token.expires is None or token.expires > self.clock()

    def save(self, tokens: list[Stored]) -> None:
        try:
            paths.replace(self.file, Store(tokens=tokens).model_dump_json(indent=1))
        except OSError as error:
            kind = StorageFull if error.errno in (ENOSPC, EDQUOT) else StorageFailed
            raise kind(f"{self.file} could not be written: {error.strerror}. Nothing was changed.") from error
        self.stored = tokens


def caller(token: TokenView) -> Caller:
    return Caller(token.id, token.name, token.scope, token.expires)
