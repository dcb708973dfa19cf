"""Whether it is worth asking a host that could not be reached."""

from collections.abc import Callable
from time import monotonic

# A host is left alone after so many failures to connect in a row, and tried again after a pause.
FAILURES = 2
PAUSE_SECONDS = 10.0


class Breaker:
    """Closed: ask. Open: ask others first. Half-open, once the pause is over: one may try."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self.clock = clock
        # In a row, and since the beginning.
        self.failures = self.total = 0
        self.until = 0.0

    @property
    def open(self) -> bool:
        return self.failures >= FAILURES and self.clock() < self.until

    def trying(self) -> None:
        """Somebody connects: while the host is half-open nobody else should, until it is known."""
        if self.failures >= FAILURES:
            self.until = self.clock() + PAUSE_SECONDS

    def failed(self) -> None:
        self.failures += 1
        self.total += 1
        self.until = self.clock() + PAUSE_SECONDS

    def answered(self) -> None:
        self.failures = 0
