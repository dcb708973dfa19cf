"""What comes in is held to its size, wherever the limit falls."""

import asyncio

import pytest

from opta.body import LIMIT, Body, BodyTooLarge


def incoming(*sizes: int) -> Body:
    """A body of such chunks; a read after the last waits for ever, as a server's does."""
    chunks = [{"type": "http.request", "body": b" " * size, "more_body": True} for size in sizes]
    chunks[-1]["more_body"] = False

    async def receive():
        return chunks.pop(0) if chunks else await asyncio.Event().wait()

    return Body(receive)


async def read(body: Body) -> int:
    while body.more:
        await body.receive()
    return body.size


@pytest.mark.parametrize("sizes", [(0,), (LIMIT,), (LIMIT - 1, 1)])
async def test_a_body_up_to_the_limit_passes(sizes: tuple[int, ...]):
    assert await read(incoming(*sizes)) == sum(sizes)


@pytest.mark.parametrize("sizes", [(LIMIT + 1,), (LIMIT, 1), (LIMIT, 1, 5), (1, LIMIT, LIMIT)])
async def test_a_larger_one_is_refused_and_its_rest_is_read(sizes: tuple[int, ...]):
    body = incoming(*sizes)
    with pytest.raises(BodyTooLarge):
        await read(body)
    async with asyncio.timeout(5):
        await body.drain()
    assert body.size == sum(sizes)


async def test_an_endless_body_is_given_up():
    async def receive():
        return {"type": "http.request", "body": b" " * LIMIT, "more_body": True}

    async with asyncio.timeout(5):
        await Body(receive).drain()
