"""A model server on the wire: connecting, limits, signs of life, and what its refusals mean.

Failure             cli.protocol.failures
├── Unreachable     no connection: nothing was sent, another server may be asked
├── Refused         an answer that is not 200
│   └── Busy        429 or 503 with Retry-After: nothing was begun, the same may be asked again
└── LeavesLan       cli.clients.transport
"""

import asyncio
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from cli.clients.breaker import Breaker
from cli.clients.transport import Lan, Open
from cli.config import Limits
from cli.protocol.failures import HINTS, Failure
from cli.protocol.messages import Message, Piece, Progress

Body = TypeVar("Body", bound=BaseModel)

# How LMX says in a comment how far a prompt is read.
READING = re.compile(rb": ?reading (\d{1,12})/(\d{1,12})")
# What a server is asked beside an answer, such as its models, is there at once or not at all.
ASIDE_SECONDS = 10.0


class Unreachable(Failure):
    pass


class Refused(Failure):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(code, message)
        self.status = status


class Busy(Refused):
    def __init__(self, refused: Refused, after: float) -> None:
        super().__init__(refused.status, refused.code, refused.message)
        self.after = after


class Known(BaseModel):
    """A model of a server's; None where the server does not say. `context` is in tokens."""

    id: str
    context: int | None = None
    loaded: bool | None = None


class Card(BaseModel):
    """What a server says of one model: its context in tokens, and whether it counts a prompt's tokens."""

    context: int | None = None
    counts: bool = False


class Error(BaseModel):
    message: str
    code: str | int | None = None
    type: str | None = None


class Envelope(BaseModel):
    """How OpenAI and Anthropic alike say what is wrong."""

    error: Error


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
        self.breaker = breaker or Breaker()
        # Reading has limits of its own, which any byte puts off; trust_env: no proxy, no .netrc.
        timeout = httpx.Timeout(None, connect=self.limits.connect_seconds)
        self.http = httpx.AsyncClient(
            transport=Lan() if lan else Open(),
            timeout=timeout,
            trust_env=False,
            headers={"User-Agent": "opta"},
        )

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
        await self.http.aclose()

    async def get(self, url: str, **request: Any) -> bytes:
        """What stands there, within ASIDE_SECONDS."""
        try:
            async with asyncio.timeout(ASIDE_SECONDS), self.answer("GET", url, **request) as response:
                return await response.aread()
        except TimeoutError as error:
            raise self.silent(ASIDE_SECONDS) from error

    @asynccontextmanager
    async def answer(self, method: str, url: str, **request: Any) -> AsyncIterator[httpx.Response]:
        """The response, once its status is 200; what goes wrong then and later becomes a Failure."""
        said = self.http.build_request(method, url, headers=await self.headers(), **request)
        response = await self.send(said)
        try:
            if response.status_code != httpx.codes.OK:
                raise self.refusal(response, await response.aread())
            yield response
        except httpx.TransportError as error:
            self.broke(error)
        finally:
            await response.aclose()

    async def send(self, request: httpx.Request) -> httpx.Response:
        """The head of the answer. It may come with the first token only: then that is what is waited for."""
        limits = self.limits
        self.breaker.trying()
        try:
            async with asyncio.timeout(limits.connect_seconds + limits.first_token_seconds):
                response = await self.http.send(request, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            self.breaker.failed()
            what = str(error) or f"it did not answer within {limits.connect_seconds:g} s"
            message = f"{self.title} cannot be reached at {self.url}: {what}."
            raise Unreachable(self.unreachable, message) from error
        except TimeoutError as error:
            raise self.silent(limits.first_token_seconds) from error
        except httpx.TransportError as error:
            self.broke(error)
        self.breaker.answered()
        return response

    async def headers(self) -> dict[str, str]:
        if self.secret is None:
            self.secret = await asyncio.to_thread(self.key) or ""
        return self.credentials(self.secret) if self.secret else {}

    def refusal(self, response: httpx.Response, body: bytes) -> Refused:
        """An answer that is not 200, also when it is not in OpenAI's envelope."""
        status = response.status_code
        try:
            error = Envelope.model_validate_json(body).error
        except ValidationError:
            text = body[:200].decode(errors="replace")
            error = Error(message=f"{self.url} answered {status}: {text!r}.")
        if status in (401, 403):
            self.secret = None  # another may be stored by now
        refused = self.refused(status, error)
        after = seconds(response.headers.get("Retry-After", ""))
        return Busy(refused, after) if status in (429, 503) and after is not None else refused

    def refused(self, status: int, error: Error) -> Refused:
        """What the server says is wrong, under a code of ours."""
        return failure(status, error)

    def broke(self, error: httpx.TransportError) -> NoReturn:
        message = f"The connection to {self.url} broke before the end of the answer: {error}."
        raise Failure("upstream_truncated", message) from error

    def silent(self, limit: float) -> Failure:
        return Failure("upstream_silent", f"{self.title} at {self.url} showed no life for {limit:g} s.")

    def parse(self, kind: type[Body], data: bytes) -> Body:
        try:
            return kind.model_validate_json(data)
        except ValidationError as error:
            message = f"{self.url} answered what is no {kind.__name__} of its API: {data[:200]!r}."
            raise Failure("upstream_error", message) from error


class Stream:
    """An answer's server-sent events, for as long as the server shows life; any byte is a sign of it."""

    def __init__(self, server: Server, response: httpx.Response) -> None:
        self.server = server
        self.response = response
        # Whether the first token came: from then on the server may not be silent for as long.
        self.begun = False

    async def frames(self) -> AsyncIterator[bytes | Progress]:
        """The data of each event, and how far the prompt is read.

        Split at \\n alone: text may hold U+2028 or U+0085, at which `aiter_lines` would tear a frame.
        """
        rest, data = b"", []
        async for chunk in self.chunks():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                line = line.rstrip(b"\r")
                if line.startswith(b"data:"):
                    data.append(line.removeprefix(b"data:").removeprefix(b" "))
                elif found := READING.fullmatch(line):
                    yield Progress(done=int(found[1]), total=int(found[2]))
                elif not line and data:
                    yield b"\n".join(data)
                    data = []

    async def chunks(self) -> AsyncIterator[bytes]:
        limits, chunks = self.server.limits, self.response.aiter_bytes()
        while True:
            limit = limits.idle_seconds if self.begun else limits.first_token_seconds
            try:
                async with asyncio.timeout(limit):
                    chunk = await anext(chunks)
            except StopAsyncIteration:
                return
            except TimeoutError as error:
                raise self.server.silent(limit) from error
            yield chunk


def failure(status: int, error: Error) -> Refused:
    """What a server says is wrong, under a code of ours."""
    if isinstance(error.code, str) and error.code in HINTS:
        return Refused(status, error.code, error.message)
    if status in (401, 403):
        return Refused(status, "provider_unauthorized", error.message)
    return Refused(status, "upstream_error" if status >= 500 else "upstream_refused", error.message)


def seconds(retry_after: str) -> float | None:
    """Retry-After, which is seconds or a date (RFC 9110, 10.2.3); None when it is neither."""
    if retry_after.isascii() and retry_after.replace(".", "", 1).isdigit():
        return float(retry_after)
    try:
        return max(0.0, (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
