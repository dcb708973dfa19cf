"""What waits for a client that does not read."""

import asyncio

import pytest

from inference.errors import SlowReader
from inference.inbox import Inbox
from inference.request import Event, Finish, Text
from opta.errors import Refusal


def text(number: int) -> Text:
    return Text(1, str(number))


def test_what_came_together_is_taken_together_and_silence_is_empty():
    async def taking() -> list[list[Event]]:
        inbox = Inbox()
        found = [await inbox.take(0.01)]
        waiting = asyncio.create_task(inbox.take(60))
        await asyncio.sleep(0)
        inbox.put(text(1))
        inbox.put(text(2))
        found.append(await waiting)
        inbox.put(Finish(1, 1, 0, 2))
        return [*found, await inbox.take(60)]

    assert asyncio.run(taking()) == [[], [text(1), text(2)], [Finish(1, 1, 0, 2)]]


def test_a_failure_is_told_after_what_came_before_it_and_the_first_one_stands():
    async def taking() -> list[Event]:
        inbox = Inbox()
        inbox.put(text(1))
        inbox.fail(Refusal("first"))
        inbox.fail(Refusal("second"))
        found = await inbox.take(60)
        with pytest.raises(Refusal, match="first"):
            await inbox.take(60)
        return found

    assert asyncio.run(taking()) == [text(1)]


def test_a_client_that_does_not_read_is_given_up():
    async def taking() -> list[Event]:
        inbox = Inbox(most=3)
        assert [inbox.put(text(number)) for number in range(5)] == [True] * 3 + [False] * 2
        found = await inbox.take(60)
        with pytest.raises(SlowReader):
            await inbox.take(60)
        return found

    assert asyncio.run(taking()) == [text(0), text(1), text(2)]
