"""Token buckets: how often somebody may do something, with room for a burst."""

import time
from collections.abc import Callable

# The callers that are remembered; the one that came first makes room.
MOST = 1024


class Buckets:
    """A bucket a key: `burst` at once, then `rate` a second."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self.burst, self.clock = rate, burst, clock
        # What is left in a key's bucket, and when that was so.
        self.levels: dict[str, tuple[float, float]] = {}

    def take(self, key: str) -> float:
        """Take one; 0 when there was one, else in how many seconds there is."""
        now = self.clock()
        left, seen = self.levels.get(key, (float(self.burst), now))
        left = min(self.burst, left + (now - seen) * self.rate)
        if key not in self.levels and len(self.levels) >= MOST:
            del self.levels[next(iter(self.levels))]
        if left < 1:
            self.levels[key] = left, now
            return (1 - left) / self.rate
        self.levels[key] = left - 1, now
        return 0.0
