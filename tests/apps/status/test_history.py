"""History is honest: what nobody measured is unknown, and never up."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from apps.status.history import INTERVAL, MINUTE, STALE, hour, minutes, opening, present
from apps.status.probes import State

NOW = datetime(2026, 3, 1, 12, 0, 20, tzinfo=UTC)
MEASURED = [State.ONLINE, State.DEGRADED, State.OFFLINE]


@dataclass
class Seen:
    at: datetime
    state: str


def before(seconds: float, state: State = State.ONLINE) -> Seen:
    return Seen(NOW - timedelta(seconds=seconds), state)


def every(step: int, first: int, last: int = 0, state: State = State.ONLINE) -> list[Seen]:
    """Checks `step` seconds apart, from `first` to `last` seconds before NOW."""
    return [before(n, state) for n in range(first, last - 1, -step)]


nows = st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC))
checks = st.dictionaries(st.integers(0, 5000), st.sampled_from(MEASURED), max_size=120).map(
    lambda found: sorted(found.items(), reverse=True)
)


def seen(now: datetime, found: list[tuple[int, State]]) -> list[Seen]:
    return [Seen(now - timedelta(seconds=ago), state) for ago, state in found]


def test_without_a_check_all_is_unknown():
    assert present([], NOW) == State.UNKNOWN
    assert [(run.state, run.minutes) for run in hour([], NOW)] == [(State.UNKNOWN, 60)]


def test_an_hour_of_good_checks_is_online_throughout():
    assert [(run.state, run.minutes) for run in hour(every(30, 3700, 5), NOW)] == [(State.ONLINE, 60)]


def test_one_missed_poll_is_no_gap():
    found = [one for n, one in enumerate(every(30, 3700, 5)) if n != 60]
    assert {run.state for run in hour(found, NOW)} == {State.ONLINE}


def test_a_bad_check_makes_its_minute_bad():
    found = [*every(30, 3700, 650), before(620, State.OFFLINE), *every(30, 590, 5)]
    bad = [run for run in hour(found, NOW) if run.state == State.OFFLINE]
    assert [run.minutes for run in bad] == [1]
    assert bad[0].start <= NOW - timedelta(seconds=620) < bad[0].end


def test_a_sleeping_prober_leaves_a_gap_not_an_up():
    found = [*every(30, 3700, 1800), *every(30, 600, 5)]
    runs = hour(found, NOW)
    assert [run.state for run in runs] == [State.ONLINE, State.UNKNOWN, State.ONLINE]
    assert 19 <= runs[1].minutes <= 21


def test_the_present_is_unknown_once_the_last_check_is_stale():
    assert present([before(75)], NOW) == State.ONLINE
    assert present([before(75.1)], NOW) == State.UNKNOWN


@given(nows, checks)
def test_the_hour_is_sixty_minutes_in_order_and_ends_with_the_present_one(now, found):
    runs = hour(seen(now, found), now)
    assert sum(run.minutes for run in runs) == 60
    assert runs[0].start == opening(now)
    assert runs[-1].end - MINUTE <= now < runs[-1].end
    for one, after in pairwise(runs):
        assert one.end == after.start
        assert one.state != after.state


@given(nows, checks)
def test_a_minute_is_online_only_when_a_check_stands_for_every_moment_of_it(now, found):
    rows = seen(now, found)
    for n, state in enumerate(minutes(rows, now)):
        if state == State.ONLINE:
            start = opening(now) + n * MINUTE
            for second in range(0, 60, 5):
                moment = min(start + timedelta(seconds=second), now)
                earlier = [row for row in rows if row.at <= moment]
                assert earlier, "online before the first check"
                after = min((row.at for row in rows if row.at > moment), default=now)
                assert moment - earlier[-1].at <= INTERVAL or after - earlier[-1].at <= STALE


@given(nows, checks)
def test_bad_news_is_never_lost(now, found):
    rows = seen(now, found)
    told = minutes(rows, now)
    for row in rows:
        if row.state == State.OFFLINE and row.at >= opening(now):
            assert told[(row.at - opening(now)) // MINUTE] == State.OFFLINE


@given(nows, checks, st.integers(76, 4000))
def test_time_alone_never_makes_a_service_look_better(now, found, later):
    rows = seen(now, found)
    assert present(rows, now + timedelta(seconds=later)) == State.UNKNOWN
    assert minutes(rows, now + timedelta(seconds=later))[-1] != State.ONLINE
