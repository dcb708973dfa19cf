"""How the events of an answer are written to its client."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from inference.api.answers import stream
from inference.errors import RunnerDied
from inference.inbox import Pause
from inference.request import Ended, Event, Progress, Text
from opta import sse
from opta.errors import Refusal


def written(told: Sequence[Event | Pause | Refusal], first: bytes = b"") -> list[bytes]:
    async def events() -> AsyncGenerator[Event | Pause]:
        for one in told:
            if isinstance(one, Refusal):
                raise one
            yield one

    async def collect() -> list[bytes]:
        answer = stream(
            events(),
            lambda event: [event.text.encode()] if isinstance(event, Text) else [],
            lambda error: error.code.encode(),
            first=first,
        )
        return [part async for part in answer if part]

    return asyncio.run(collect())


TOGETHER, SILENCE = Pause(silent=False), Pause(silent=True)


def test_what_came_together_is_written_together():
    told = [Text(1, "a"), Text(1, "b"), TOGETHER, Text(1, "c"), Ended(1, "stop"), TOGETHER, Text(1, "d")]
    assert written(told) == [b"ab", b"c", b"d"]


def test_the_opening_does_not_wait_for_the_first_token():
    assert written([TOGETHER, Text(1, "a"), TOGETHER], first=b"opening") == [b"opening", b"a"]


def test_silence_is_a_ping_and_reading_a_comment():
    told = [TOGETHER, SILENCE, SILENCE, Progress(1, 3, 9), TOGETHER, Text(1, "a")]
    assert written(told) == [sse.PING, sse.PING, b": reading 3/9\n\n", b"a"]


def test_a_break_in_the_middle_is_told_after_what_came_before_it():
    assert written([Text(1, "a"), RunnerDied("gone")]) == [b"arunner_died"]
