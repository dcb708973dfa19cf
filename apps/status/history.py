"""From checks to what may be said: how a service is now, and how it was in the last hour. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby, zip_longest
from typing import NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict

from apps.status.probes import State

MINUTE = timedelta(minutes=1)
MINUTES = 60
INTERVAL = timedelta(seconds=30)
# Silence longer than two intervals and a bit is a gap: the prober slept, and nobody knows.
STALE = timedelta(seconds=75)
DAWN = datetime.min.replace(tzinfo=UTC)
# A minute is as bad as the worst of it; it is online only when all of it was known to be.
RANK = {State.ONLINE: 0, State.UNKNOWN: 1, State.DEGRADED: 2, State.OFFLINE: 3}


class Checked(Protocol):
    """What is read of a row."""

    at: datetime
    state: str


class Span(NamedTuple):
    start: datetime
    end: datetime
    state: State


class Run(BaseModel):
    """Whole minutes of one state: from `start` until `end`."""

    model_config = ConfigDict(frozen=True)
    start: datetime
    end: datetime
    state: State

    @property
    def minutes(self) -> int:
        return (self.end - self.start) // MINUTE


def worst(states: Iterable[State]) -> State:
    return max(states, key=RANK.__getitem__)


def opening(now: datetime) -> datetime:
    """When the hour that ends with the present minute begins."""
    return now.replace(second=0, microsecond=0) - (MINUTES - 1) * MINUTE


def present(checks: Sequence[Checked], now: datetime) -> State:
    """The state now; `checks` are of one service, oldest first. Unknown when the last one is stale."""
    if not checks or now - checks[-1].at > STALE:
        return State.UNKNOWN
    return State(checks[-1].state)


def spans(checks: Sequence[Checked], now: datetime, until: datetime) -> Iterator[Span]:
    """All time until `until`, each part with its state.

    A check stands until the next one. When that, or `now`, is further off than STALE, it stands
    for one interval, and the rest of the gap is unknown.
    """
    yield Span(DAWN, checks[0].at if checks else until, State.UNKNOWN)
    for check, after in zip_longest(checks, (following.at for following in checks[1:])):
        end = after or until
        stale = (after or now) - check.at > STALE
        known = check.at + INTERVAL if stale else end
        yield Span(check.at, known, State(check.state))
        if stale:
            yield Span(known, end, State.UNKNOWN)


def minutes(checks: Sequence[Checked], now: datetime) -> list[State]:
    """The state of each of the sixty minutes that end with the present one."""
    first = opening(now)
    found: list[set[State]] = [set() for _ in range(MINUTES)]
    for start, end, state in spans(checks, now, first + MINUTES * MINUTE):
        past_end = -((first - end) // MINUTE)  # rounded up: a minute that a span touches is its own
        for i in range(max(0, (start - first) // MINUTE), min(MINUTES, past_end)):
            found[i].add(state)
    return [worst(states) for states in found]


def hour(checks: Sequence[Checked], now: datetime) -> list[Run]:
    """The same minutes, with neighbours of one state joined."""
    runs, start = [], opening(now)
    for state, group in groupby(minutes(checks, now)):
        end = start + len(list(group)) * MINUTE
        runs.append(Run(start=start, end=end, state=state))
        start = end
    return runs
