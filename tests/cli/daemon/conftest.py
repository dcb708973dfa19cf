"""A real daemon, a client of its HTTP API that hides nothing, and a scripted model behind it."""

import json
import resource
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, aclosing
from typing import Any

import httpx
import pytest
import websockets

from tests import processes
from tests.processes import Role, free_port
from tests.scripted import Scripted, scripted

# Only Linux lets one process limit another's files, which is how a disk is made full here.
collect_ignore = [] if hasattr(resource, "prlimit") else ["test_full_disk.py"]

ENDINGS = ("turn.done", "turn.failed", "turn.cancelled", "turn.stopped")


def kind(data: str) -> str:
    return json.loads(data)["event"]["type"]


def streamed(message: str) -> str:
    """An event of the socket as the stream has it."""
    end = f',"type":"event","session":{json.dumps(json.loads(message)["session"])}}}'
    assert message.endswith(end)
    return message.removesuffix(end) + "}"


def body(data: str) -> dict[str, Any]:
    return json.loads(data)["event"]


class V3:
    """The daemon's HTTP API and WebSocket. Events are the text that came over the wire."""

    def __init__(self, role: Role) -> None:
        self.role = role
        self.http = httpx.AsyncClient(base_url=role.url, headers=role.headers, timeout=30)

    async def create(self, **fields: Any) -> str:
        return (await self.http.post("/v3/sessions", json=fields)).raise_for_status().json()["id"]

    async def submit(self, session: str, text: str, **fields: Any) -> str:
        answer = await self.http.post(f"/v3/sessions/{session}/turns", json={"text": text, **fields})
        return answer.raise_for_status().json()["id"]

    async def cancel(self, session: str, **fields: Any) -> list[str]:
        answer = await self.http.post(f"/v3/sessions/{session}/cancel", json=fields)
        return answer.raise_for_status().json()["turns"]

    async def detail(self, session: str) -> dict[str, Any]:
        return (await self.http.get(f"/v3/sessions/{session}")).raise_for_status().json()

    async def events(self, session: str, after: int = 0) -> list[dict[str, Any]]:
        answer = await self.http.get(f"/v3/sessions/{session}/events", params={"after": after})
        return answer.raise_for_status().json()["events"]

    async def stream(self, session: str, after: int = 0, **headers: str) -> AsyncIterator[str]:
        url = f"/v3/sessions/{session}/stream?after={after}"
        async with self.http.stream("GET", url, headers=headers) as response:
            response.raise_for_status()
            id = None
            async for line in lines(response):
                if line.startswith("id: "):
                    id = int(line.removeprefix("id: "))
                elif line.startswith("data: "):
                    data = line.removeprefix("data: ")
                    assert json.loads(data)["seq"] == id
                    yield data

    async def socket(self, session: str, after: int = 0) -> AsyncIterator[str]:
        """The events as the stream has them: the socket says whose they are besides."""
        url = f"{self.role.url.replace('http', 'ws')}/v3/ws?session={session}&after={after}"
        async with websockets.connect(url, additional_headers=self.role.headers) as socket:
            async for message in socket:
                yield streamed(str(message))

    async def settled(self, session: str, after: int = 0, *, turns: int = 1) -> list[str]:
        """The events until so many turns have ended."""
        return await until(self.stream(session, after), *ENDINGS, times=turns)


async def lines(response: httpx.Response) -> AsyncIterator[str]:
    """Split at \\n alone: httpx's own would also split at U+2028, which text may hold."""
    rest = b""
    async for piece in response.aiter_bytes():
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line.decode()


async def until(events: AsyncIterator[str], *kinds: str, times: int = 1) -> list[str]:
    """The events up to and with the first (or n-th) of these kinds."""
    seen = []
    async with aclosing(events):
        async for data in events:
            seen.append(data)
            times -= kind(data) in kinds
            if not times:
                return seen
    raise AssertionError(f"the stream ended without {kinds}: {seen[-3:]}")


@pytest.fixture
async def model() -> AsyncIterator[Scripted]:
    async with scripted() as script:
        yield script


@pytest.fixture
async def connect() -> AsyncIterator[Callable[[Role], V3]]:
    async with AsyncExitStack() as stack:

        def connecting(role: Role) -> V3:
            client = V3(role)
            stack.push_async_callback(client.http.aclose)
            return client

        yield connecting


@pytest.fixture
async def v3(start_daemon: Callable[..., Role], model: Scripted, connect: Callable[[Role], V3]) -> V3:
    """A daemon in front of the scripted model."""
    return connect(start_daemon(lmx_url=model.url))


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Role, int]]:
    """One daemon for all tests of a module, and the port at which it asks for its model."""
    port = free_port()
    role = processes.daemon(tmp_path_factory.mktemp("opta"), f"http://127.0.0.1:{port}")
    yield role, port
    role.stop()


@pytest.fixture
async def standing_model(standing: tuple[Role, int]) -> AsyncIterator[Scripted]:
    async with scripted(standing[1]) as script:
        yield script


@pytest.fixture
def standing_v3(standing: tuple[Role, int], standing_model: Scripted, connect: Callable[[Role], V3]) -> V3:
    return connect(standing[0])
