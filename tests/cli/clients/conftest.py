"""Model servers that say what a test scripts, and clients that are closed after it."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from cli.clients.providers import Providers
from cli.clients.server import Server
from cli.config import Config
from cli.protocol.messages import Message, Piece
from tests.scripted import Scripted, scripted

ASKED = [Message(role="system", content="Be brief."), Message(role="user", content="hi")]


async def said(server: Server | Providers, model: str = "m", **options: Any) -> list[Piece]:
    return [piece async for piece in server.chat(model, ASKED, (), **options)]


class Choices:
    """What a user's file would say; a test changes it."""

    def __init__(self, **fields: Any) -> None:
        self.config = Config.model_validate(fields)

    def __call__(self) -> Config:
        return self.config


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def one() -> AsyncIterator[Scripted]:
    async with scripted() as script:
        yield script


@pytest.fixture
async def other() -> AsyncIterator[Scripted]:
    async with scripted() as script:
        yield script


@pytest.fixture
async def closing() -> AsyncIterator[Callable[..., Any]]:
    """closing(client) is that client, closed when the test is over."""
    async with AsyncExitStack() as stack:

        def keep(client: Any) -> Any:
            stack.push_async_callback(client.close)
            return client

        yield keep
