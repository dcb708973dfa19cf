"""How the board writes its facts: badges, ages, and the hour as bars."""

from collections import defaultdict
from datetime import datetime
from typing import NamedTuple

from django import template
from django.utils import timezone

from apps.status.history import RANK, Run
from apps.status.probes import State

register = template.Library()

# The words of opta.css for the four states.
TONES = {State.ONLINE: "ok", State.DEGRADED: "warn", State.OFFLINE: "bad", State.UNKNOWN: "unknown"}
# Where a minute's bar starts and how tall it is, of 28: up is up, down is down, and unknown is a dot.
SHAPES = {State.ONLINE: (0, 18), State.DEGRADED: (9, 9), State.OFFLINE: (18, 10), State.UNKNOWN: (16, 2)}


class Bars(NamedTuple):
    """All bars of one state, as the path of an SVG in which a minute is 5 wide."""

    tone: str
    path: str


@register.filter
def tone(state: State) -> str:
    return TONES[state]


@register.filter
def ago(at: datetime) -> str:
    """How long ago, in the largest unit that fits; static/status/live.js says it the same way."""
    seconds = max(0, int((timezone.now() - at).total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


@register.filter
def bars(runs: list[Run]) -> list[Bars]:
    paths: defaultdict[State, str] = defaultdict(str)
    x = 0
    for run in runs:
        top, height = SHAPES[run.state]
        for _ in range(run.minutes):
            paths[run.state] += f"M{x} {top}h4v{height}h-4z"
            x += 5
    return [Bars(TONES[state], path) for state, path in paths.items()]


@register.filter
def told(runs: list[Run]) -> str:
    """The hour in words, the worst first: "offline 2 min (14:03–14:05), online 58 min"."""
    return ", ".join(
        told_state(state, [run for run in runs if run.state == state])
        for state in sorted(RANK, key=RANK.__getitem__, reverse=True)
        if any(run.state == state for run in runs)
    )


def told_state(state: State, runs: list[Run]) -> str:
    total = f"{state} {sum(run.minutes for run in runs)} min"
    if state not in (State.OFFLINE, State.DEGRADED):
        return total
    times = [f"{run.start:%H:%M}–{run.end:%H:%M}" for run in runs[-3:]]
    return f"{total} ({'…, ' if len(runs) > 3 else ''}{', '.join(times)})"
