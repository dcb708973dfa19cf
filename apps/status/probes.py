"""Ask every service at once how it is. No database here: services in, results out."""

import asyncio
import socket
import ssl
import time
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import httpx
from pydantic import BaseModel, ValidationError

from apps.status.registry import Service

TIMEOUT = 9.0  # seconds for all that one service is asked, so that a poll ends before the next begins
SLOW = 2.0  # seconds; an answer that takes longer is an answer, but not a good one
BODY_LIMIT = 64 * 1024
REASON_LIMIT = 200
CAUSES: dict[type[BaseException], str] = {
    ConnectionRefusedError: "nothing listens there: connection refused",
    socket.gaierror: "its name does not resolve",
    httpx.ConnectTimeout: "no connection in time",
    ssl.SSLError: "the TLS handshake failed",
    httpx.RemoteProtocolError: "another program answers there, or it hung up: that was not HTTP",
    httpx.ReadError: "it hung up before it answered",
}


class State(StrEnum):
    """Unknown is never measured: it is what the absence of a measurement means."""

    ONLINE = "online"
    DEGRADED = "degraded"
    OFFLINE = "offline"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Result:
    """What one probe found; `latency_ms` is None when nothing answered. Strangers read `reason`."""

    service: str
    state: State
    latency_ms: int | None = None
    reason: str = ""


class Report(BaseModel):
    """A health report; a newer one may say more than we read."""

    status: str
    service: str
    checks: dict[str, str] = {}

    def complaint(self) -> str:
        """What it says is wrong; empty when all is well."""
        failing = sorted(name for name, found in self.checks.items() if found != "ok")
        if failing:
            return f"failing check: {', '.join(failing)}"
        return "" if self.status == "ok" else f"it reports {self.status!r}"


class NotIts(Exception):
    """Something answered, but not the service we asked for."""


async def probe_all(services: Iterable[Service], *, timeout: float = TIMEOUT) -> list[Result]:
    """Every service asked concurrently; never raises for what a service does."""
    # A TLS handshake that is cancelled from outside leaks its socket; ended by its own limit, it does not.
    limits = httpx.Timeout(timeout, connect=timeout / 3)
    # trust_env: a proxy in the environment is for the way out, not for this machine.
    async with httpx.AsyncClient(timeout=limits, follow_redirects=False, trust_env=False) as client:
        return await asyncio.gather(*(probe(client, service, timeout) for service in services))


async def probe(client: httpx.AsyncClient, service: Service, timeout: float) -> Result:
    try:
        async with asyncio.timeout(timeout):
            return await ask(client, service)
    except (TimeoutError, httpx.ReadTimeout):
        reason = f"no answer within {timeout:g} s"
    except NotIts as error:
        reason = str(error)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = plain(error)
    return Result(service.slug, State.OFFLINE, reason=reason)


async def ask(client: httpx.AsyncClient, service: Service) -> Result:
    started = time.monotonic()
    status, body = await fetch(client, service.url, service.host)
    seconds = time.monotonic() - started
    complaint = judge(service, status, body)
    if not complaint and seconds > SLOW:
        complaint = f"slow: it took {seconds:.1f} s to answer"
    if not complaint and service.ready_url:
        ready, _ = await fetch(client, service.ready_url, service.host)
        complaint = "" if ready < 300 else "it is up, but not ready to take work"
    state = State.DEGRADED if complaint else State.ONLINE
    return Result(service.slug, state, round(seconds * 1000), complaint[:REASON_LIMIT])


async def fetch(client: httpx.AsyncClient, url: str, host: str) -> tuple[int, bytes]:
    """Status and body; raises NotIts for a body that no health report has."""
    body = b""
    # Raw and uncompressed: a small answer must not unpack into a large one.
    headers = {"Accept-Encoding": "identity"} | ({"Host": host} if host else {})
    async with client.stream("GET", url, headers=headers) as response:
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > BODY_LIMIT:
                raise NotIts(f"another program answers there: more than {BODY_LIMIT // 1024} KB")
    return response.status_code, body


def judge(service: Service, status: int, body: bytes) -> str:
    """What is wrong with the service, in its own words; raises NotIts when they are not its words."""
    try:
        report = Report.model_validate_json(body)
    except ValidationError:
        raise NotIts(f"HTTP {status} without a health report") from None
    if report.service != service.speaks_as:
        raise NotIts("another program answers there: its health report has another name")
    if status < 300 or status >= 500:
        return report.complaint() or ("" if status < 300 else f"HTTP {status}")
    raise NotIts(f"HTTP {status} where its health report should be")


def plain(error: Exception) -> str:
    """The cause in plain words: its kind, never an address or a path."""
    cause: BaseException | None = error
    while cause is not None:
        for kind, words in CAUSES.items():
            if isinstance(cause, kind):
                return words
        cause = cause.__cause__ or cause.__context__
    return f"the connection failed ({type(error).__name__})"
