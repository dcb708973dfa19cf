"""Measure the daemon over HTTP with a full house: `python -m tests.bench.sessions`.

health       the least any request costs, for comparison
list         a list of all 1,000 sessions, each with 20 events and an 8 kB system prompt
page         its first page of 100
search       20 best sessions for two words that are in each of them
first        the first event of a stream that replays 10,000
replay       the last of them

Each is asked in turn, 30 times, on a kept connection. Prints the median, the slowest and how many requests
for health the median is; the status is 1 when a median is above its bound.
"""

import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import httpx

from cli.protocol.events import AnyBody, Event, TextDelta, TextDone, TurnQueued
from tests import processes
from tests.processes import Role, free_port

SESSIONS, EVENTS, REPLAYED, ROUNDS = 1000, 20, 10_000, 30
# Milliseconds.
BOUNDS = {"list": 50.0, "page": 50.0, "search": 50.0, "first": 20.0}
TIME = "2026-01-01T00:00:00Z"
PROMPT = "Answer briefly. " * 500


def fill(daemon: Role, http: httpx.Client) -> None:
    """Sessions as a client makes them; their past goes straight into the tables."""
    for number in range(SESSIONS):
        made = {"id": f"s{number}", "title": f"Session {number}", "cwd": "/", "system": PROMPT}
        http.post("/v3/sessions", json=made).raise_for_status()
    with sqlite3.connect(daemon.home / "daemon" / "daemon.sqlite3") as rows:
        for number in range(SESSIONS):
            put(rows, f"s{number}", past(EVENTS))
        put(rows, "s0", (TextDelta(text="word ") for _ in range(REPLAYED - EVENTS)), after=EVENTS)


def past(count: int) -> Iterable[AnyBody]:
    yield TurnQueued(text="How does the prefix cache keep a prompt?")
    for number in range(count - 2):
        yield TextDelta(text=f"word {number} ")
    yield TextDone(text="It keeps the keys and values of each prefix " * 10)


def put(rows: sqlite3.Connection, session: str, bodies: Iterable[AnyBody], after: int = 0) -> None:
    events = [
        Event.model_validate({"seq": seq, "turn": "t", "time": TIME, "event": body})
        for seq, body in enumerate(bodies, after + 1)
    ]
    rows.executemany(
        "INSERT INTO daemon_event(session_id, seq, turn, type, data) VALUES (?, ?, 't', ?, ?)",
        [(session, each.seq, each.event.type, each.model_dump_json()) for each in events],
    )
    rows.executemany(
        "INSERT INTO daemon_passage(session_id, seq, turn, text) VALUES (?, ?, 't', ?)",
        [(session, each.seq, each.event.text) for each in events if not isinstance(each.event, TextDelta)],
    )
    last = events[-1].seq
    rows.execute("UPDATE daemon_session SET reserved = ?, seq = ? WHERE id = ?", [last, last, session])


def timed(ask: Callable[[], object]) -> float:
    """Milliseconds."""
    start = time.perf_counter()
    ask()
    return (time.perf_counter() - start) * 1e3


def replayed(http: httpx.Client, events: int) -> None:
    """Read a stream until so many events came."""
    seen = 0
    with http.stream("GET", "/v3/sessions/s0/stream") as answer:
        for piece in answer.iter_raw():
            seen += piece.count(b"data: ")
            if seen >= events:
                return


def measure(http: httpx.Client) -> dict[str, list[float]]:
    asked: dict[str, Callable[[], object]] = {
        "health": lambda: http.get("/v3/health").raise_for_status(),
        "list": lambda: http.get("/v3/sessions?limit=1000").raise_for_status(),
        "page": lambda: http.get("/v3/sessions").raise_for_status(),
        "search": lambda: http.get("/v3/sessions/search?q=prefix cache&limit=20").raise_for_status(),
        "first": lambda: replayed(http, 1),
        "replay": lambda: replayed(http, REPLAYED),
    }
    rounds = [{name: timed(ask) for name, ask in asked.items()} for _ in range(1 + ROUNDS)]
    return {name: [round[name] for round in rounds[1:]] for name in asked}  # the first one warms up


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        daemon = processes.daemon(Path(folder), f"http://127.0.0.1:{free_port()}")
        try:
            with httpx.Client(base_url=daemon.url, headers=daemon.headers, timeout=60) as http:
                fill(daemon, http)
                figures = measure(http)
        finally:
            daemon.stop()
    missed = 0
    least = statistics.median(figures["health"])
    print(f"{'ms':<10}{'median':>10}{'slowest':>10}{'ratio':>8}  bound")
    for name, times in figures.items():
        median, bound = statistics.median(times), BOUNDS.get(name)
        verdict = f"≤ {bound} {'ok' if median <= bound else 'MISSED'}" if bound else ""
        missed |= bool(bound) and median > bound
        print(f"{name:<10}{median:>10.1f}{max(times):>10.1f}{median / least:>8.1f}  {verdict}".rstrip())
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
