"""When the daemon ends by itself: to make room for a successor, or because nobody has wanted it for long."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cli.daemon.errors import Replaced, Stopping
from cli.daemon.jobs import Jobs
from cli.daemon.turns import Turns
from cli.protocol.socket import Unsubscribed

log = logging.getLogger("opta.daemon")


class Lifetime:
    """`idle` says after how many seconds without anything to do the daemon ends; 0 for never."""

    def __init__(self, turns: Turns, jobs: Jobs, idle: Callable[[], float]) -> None:
        self.turns = turns
        self.jobs = jobs
        self.idle = idle
        self.guests = 0
        # When somebody was last here, or something under way.
        self.used = time.monotonic()
        self.draining: asyncio.Task[None] | None = None

    @property
    def replaced(self) -> bool:
        return self.draining is not None

    @property
    def why(self) -> Stopping:
        """What is said to who waits for something when the daemon ends."""
        return Replaced() if self.replaced else Stopping()

    @contextmanager
    def guest(self) -> Iterator[None]:
        """Somebody with a key is here: a request, or a stream for as long as it is open."""
        self.guests += 1
        try:
            yield
        finally:
            self.guests -= 1
            self.used = time.monotonic()

    def hand_off(self, seconds: float) -> None:
        """Begin no more turns, and end when those that run have, or `seconds` are over. What is submitted
        meanwhile waits for the successor. Asked again, only the newest limit holds."""
        count = len(self.turns.running)
        log.info("the daemon makes room for another; %d turns that run may go on for %g s", count, seconds)
        if self.draining:
            self.draining.cancel()
        self.draining = asyncio.create_task(self.turns.drain(seconds))

    def over(self) -> bool:
        """Whether it is time to end. Asked several times a second."""
        if self.draining:
            return self.draining.done()
        if self.guests or self.turns.tasks or self.jobs.running or self.jobs.starts:
            self.used = time.monotonic()
            return False
        limit = self.idle()
        if limit and time.monotonic() - self.used >= limit:
            log.info("nobody wanted the daemon for %g s, so it ends", limit)
            return True
        return False


def farewell(session: str, seq: int) -> Unsubscribed:
    """The last word to a follower whose daemon is being replaced: the number to resume after."""
    why = Replaced()
    return Unsubscribed(session=session, code=why.code, message=why.message, seq=seq)
