"""A model server on the wire: connecting, its key, its limits, and its answer or refusal."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from io import BytesIO
from json import dumps, loads
from typing import Any, NoReturn, TypeVar

from aiohttp import ClientError, ClientResponse
from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from cli.clients import refusals
from cli.clients.breaker import Breaker
from cli.clients.refusals import BUSY, UNAUTHORIZED, Busy, Error, Refused, Unreachable
from cli.clients.transport import UNREACHED, Transport, why
from cli.config import Limits
from cli.protocol.failures import Failure
from cli.protocol.messages import Message, Piece

Body = TypeVar("Body", bound=BaseModel)

# What a server is asked beside an answer, such as its models, is there at once or not at all.
ASIDE_SECONDS = 10.0
# More of what a server says in refusal nobody reads.
REFUSAL_BYTES = 100_000
HEADERS = {"User-Agent": "opta", "Accept": "*/*", "Accept-Encoding": "gzip, deflate"}


class Known(BaseModel):
    """A model of a server's; None where the server does not say. `context` is in tokens, its size on disk."""

    id: str
    context: int | None = None
    loaded: bool | None = None
    size_bytes: int | None = None


class Card(BaseModel):
    """What a server says of one model: its context in tokens, and whether it counts a prompt's tokens."""

    context: int | None = None
    counts: bool = False


def no_key() -> None:
    return None


class Server(ABC):
    """One at `url`. Every method raises Failure with a code of `cli.protocol.failures`."""

    unreachable = "provider_unreachable"

    def __init__(
        self,
        url: str,
        name: str,
        *,
        limits: Limits | None = None,
        key: Callable[[], str | None] = no_key,
        lan: bool = False,
        breaker: Breaker | None = None,
    ) -> None:
        """`key` may block, and is asked for once; `lan` keeps every connection on this network."""
        self.url = url.rstrip("/")
        self.name = name
        self.limits = limits or Limits()
        self.key = key
        self.lan = lan
        self.secret: str | None = None
        self.finding: asyncio.Task[str | None] | None = None
        self.breaker = breaker or Breaker()
        self.http = Transport(self.limits.connect_seconds, lan=lan)

    @abstractmethod
    def chat(
        self, model: str, messages: Sequence[Message], tools: Sequence[dict[str, Any]], **options: Any
    ) -> AsyncGenerator[Piece, None]:
        """One answer, piece by piece. Closing it hangs up, and the server stops generating.

        `options` are fields of OpenAI's request, such as max_tokens or tool_choice.
        """

    @abstractmethod
    async def listing(self) -> list[Known]:
        """The models there are."""

    @abstractmethod
    def credentials(self, secret: str) -> dict[str, str]:
        """The headers that carry the key."""

    async def card(self, model: str) -> Card:
        """What is known of a model; nothing where the server lists none, or not this one."""
        try:
            listed = await self.listing()
        except Unreachable:
            raise
        except Failure:
            return Card()
        return Card(context=next((each.context for each in listed if each.id == model), None))

    async def count(self, model: str, messages: Sequence[Message], tools: Sequence[dict[str, Any]]) -> int:
        """How many tokens the prompt has, where the server counts them."""
        raise NotImplementedError(f"{self.name} does not count tokens: its cards say so")

    async def models(self) -> list[str]:
        """The ids of the models there are."""
        return [model.id for model in await self.listing()]

    @property
    def title(self) -> str:
        """What a person calls it."""
        return self.name

    async def close(self) -> None:
        await self.http.close()

    async def fetch(
        self, url: str, *, method: str = "GET", within: float = ASIDE_SECONDS, **request: Any
    ) -> bytes:
        """The whole of what stands there, within so many seconds."""
        try:
            async with asyncio.timeout(within), self.answer(method, url, **request) as response:
                return await response.read()
        except TimeoutError as error:
            raise self.silent(within) from error

    @asynccontextmanager
    async def answer(
        self, method: str, url: str, *, json: Any = None, **request: Any
    ) -> AsyncIterator[ClientResponse]:
        """The response, once its status is 200; what goes wrong then and later becomes a Failure."""
        request["headers"] = {**HEADERS, **await self.headers()}
        if json is not None:  # to_json: the tools alone are 10 KB, for which json.dumps takes 60 µs
            request["headers"]["Content-Type"] = "application/json"
            request["data"] = BytesIO(to_json(json))
        response = await self.send(method, url, **request)
        try:
            if response.status != HTTPStatus.OK:
                raise self.refusal(response, await self.words(response))
            yield response
        except ClientError as error:
            self.broke(error)
        finally:
            response.close()

    async def send(self, method: str, url: str, **request: Any) -> ClientResponse:
        """The head of the answer. It may come with the first token only: then that is what is waited for."""
        limits = self.limits
        self.breaker.trying()
        try:
            async with asyncio.timeout(limits.connect_seconds + limits.first_token_seconds):
                response = await self.http.send(method, url, **request)
        except UNREACHED as error:
            self.breaker.failed()
            message = f"{self.title} cannot be reached at {self.url}: {why(error)}."
            raise Unreachable(self.unreachable, message) from error
        except TimeoutError as error:
            raise self.silent(limits.first_token_seconds) from error
        except ClientError as error:
            self.broke(error)
        except ValueError as error:
            raise Failure("key_unreadable", f"The key of {self.title} cannot be sent: {error}") from error
        self.breaker.answered()
        return response

    async def headers(self) -> dict[str, str]:
        if self.secret is None:
            self.secret = await self.find()
        return self.credentials(self.secret) if self.secret else {}

    async def find(self) -> str:
        """The key, empty for none.

        The system may ask the user for it. One thread waits for that, also when no request does any more:
        once the keychain is unlocked the next one has the key.
        """
        if self.finding is None or self.finding.done():
            self.finding = asyncio.create_task(asyncio.to_thread(self.key))
        try:
            async with asyncio.timeout(self.limits.connect_seconds):
                return await asyncio.shield(self.finding) or ""
        except TimeoutError as error:
            message = f"The system's keychain did not give the key of {self.title}: it may be locked."
            raise Failure("key_unreadable", message) from error
        except OSError as error:
            raise Failure("key_unreadable", f"The key of {self.title} cannot be read: {error}") from error

    def refusal(self, response: ClientResponse, body: bytes) -> Refused:
        status = response.status
        if status in UNAUTHORIZED:
            self.secret = None  # another may be stored by now
        refused = self.refused(status, refusals.read(self.url, status, body))
        after = refusals.seconds(response.headers.get("Retry-After", ""))
        return Busy(refused, after) if status in BUSY else refused

    async def words(self, response: ClientResponse) -> bytes:
        """The body of a refusal, or what has come of it by now: that it is one is known already."""
        said = b""
        with suppress(TimeoutError, ClientError):
            async with asyncio.timeout(min(ASIDE_SECONDS, self.limits.idle_seconds)):
                async for chunk in response.content.iter_any():
                    said += chunk
                    if len(said) > REFUSAL_BYTES:
                        break
        return said

    def refused(self, status: int, error: Error) -> Refused:
        """What the server says is wrong, under a code of ours."""
        return refusals.failure(status, error)

    def broke(self, error: ClientError) -> NoReturn:
        message = f"The connection to {self.url} broke before the end of the answer: {why(error)}."
        raise Failure("upstream_truncated", message) from error

    def silent(self, limit: float) -> Failure:
        return Failure("upstream_silent", f"{self.title} at {self.url} showed no life for {limit:g} s.")

    def parse(self, kind: type[Body], data: bytes) -> Body:
        try:
            return kind.model_validate_json(data)
        except ValidationError:
            pass  # what is no UTF-8 may have it wrong in one letter
        try:
            return kind.model_validate_json(mended(data))
        except (ValueError, RecursionError) as error:
            message = f"{self.url} answered what is no {kind.__name__} of its API: {data[:200]!r}."
            raise Failure("upstream_error", message) from error


def mended(data: bytes) -> bytes:
    """JSON with a ? for each letter that UTF-8 does not have: a byte cut off, half a surrogate pair."""
    return dumps(loads(data.decode(errors="replace")), ensure_ascii=False).encode(errors="replace")
