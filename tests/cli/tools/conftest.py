"""A web site for the tools that ask one."""

from collections.abc import AsyncIterator

import pytest

from tests.cli.tools.website import Server


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    runner = await made.start()
    yield made
    await runner.cleanup()
