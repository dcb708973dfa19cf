"""What the daemon counts of its own work since its start; Prometheus reads it at /v3/metrics.

Counters go up with the events that are shown, all else is looked up when somebody asks.
Source of the names' form: https://prometheus.io/docs/practices/naming/
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from time import monotonic

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cli.clients.server import Server
from cli.protocol.events import ENDINGS, EVENTS, Body, Event, ToolDone, TurnDone, TurnFailed, TurnStarted
from cli.tools.table import TOOLS
from opta.version import VERSION

# A model that is loaded answers within the first of these, in seconds; one that reads a book, in the last.
FIRST_TOKEN = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
# The first of these is what a user sees first of an answer.
SAID = ("text.delta", "reasoning.delta", "text.done", "reasoning.done", "tool.started")


class Metrics:
    """Of one daemon. Counting an event takes microseconds, and asks neither a disk nor a lock of ours."""

    def __init__(self) -> None:
        # A series beside each counter that says when it was first counted.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client
        self.registry = CollectorRegistry(auto_describe=True)
        self.born = monotonic()
        # When a turn of which nothing was seen yet began, by its session and id.
        self.began: dict[tuple[str, str], datetime] = {}
        # A model may call what does not exist: a name counts once it is one of a tool that answered.
        self.tools = set(TOOLS)
        self._count()
        self._gauge()

    def _count(self) -> None:
        def counter(name: str, help: str, *labels: str) -> Counter:
            return Counter(f"opta_{name}", help, labels, registry=self.registry)

        written = counter("events", "Events written, by type.", "type")
        self.events = {kind: written.labels(kind) for kind in map(kind_of, EVENTS)}
        self.bytes = counter("event_bytes", "Bytes of the events written.")
        ended = counter("turns", "Turns that ended, by how.", "ending")
        self.turns = {kind_of(ending): ended.labels(word(ending)) for ending in ENDINGS}
        self.failures = counter("turn_failures", "Turns that failed, by code.", "code")
        tokens = counter("tokens", "Tokens of the turns that were done, as the servers counted them.", "kind")
        self.read, self.cached, self.written = map(tokens.labels, ("prompt", "cached", "completion"))
        self.calls = counter("tool_calls", "Calls of tools, by their result.", "tool", "result")
        self.first = Histogram(
            "opta_first_token_seconds",
            "From a turn's start to the first that is seen of its answer.",
            buckets=FIRST_TOKEN,
            registry=self.registry,
        )

    def _gauge(self) -> None:
        def gauge(name: str, help: str, *labels: str) -> Gauge:
            return Gauge(f"opta_{name}", help, labels, registry=self.registry)

        self.sockets = gauge("sockets", "WebSockets that are open.")
        self.followers = gauge("followers", "Followers of a session: streams, sockets, editors.")
        self.active = gauge("turns_active", "Turns that have not ended, by state.", "state")
        self.database = gauge("database_bytes", "Size of the database on the disk, its journal included.")
        uptime = gauge("uptime_seconds", "Since the daemon's start.")
        uptime.set_function(lambda: monotonic() - self.born)
        gauge("build_info", "The daemon's version.", "version").labels(VERSION).set(1)
        ProcessCollector(registry=self.registry)

    def watch(self, servers: Callable[[], Sequence[Server]]) -> None:
        """Tell also how the model servers do that there are at the time."""
        self.registry.register(Health(servers))

    def see(self, session: str, events: Iterable[Event]) -> None:
        """Count events of a session that are shown for the first time."""
        for event in events:
            body = event.event
            self.events[body.type].inc()
            self.bytes.inc(len(event.as_json.encode()))
            if body.type in SAID:
                if began := self.began.pop((session, event.turn), None):
                    self.first.observe((event.time - began).total_seconds())
            elif isinstance(body, TurnStarted):
                self.began[session, event.turn] = event.time
            elif isinstance(body, ToolDone):
                self._call(body)
            elif isinstance(body, ENDINGS):
                self.began.pop((session, event.turn), None)
                self._end(body)

    def text(self, *, running: int, queued: int, database: Path) -> bytes:
        """All of it in Prometheus' text format."""
        self.active.labels("running").set(running)
        self.active.labels("queued").set(queued)
        self.database.set(sum(size(file) for file in (database, journal(database))))
        return generate_latest(self.registry)

    def _call(self, done: ToolDone) -> None:
        if done.ok:
            self.tools.add(done.name)
        name = done.name if done.name in self.tools else "unknown"
        self.calls.labels(name, "ok" if done.ok else "failed").inc()

    def _end(self, ending: Body) -> None:
        match ending:
            case TurnDone(usage=usage):
                self.read.inc(usage.prompt_tokens)
                self.cached.inc(usage.cached_tokens)
                self.written.inc(usage.completion_tokens)
            case TurnFailed(code=code):
                self.failures.labels(code).inc()
        self.turns[kind_of(type(ending))].inc()


class Health(Collector):
    """Model servers come and go with the user's choices: what is told of them is of those there are now."""

    def __init__(self, servers: Callable[[], Sequence[Server]]) -> None:
        self.servers = servers

    def describe(self) -> Iterator[Metric]:
        yield from ()

    def collect(self) -> Iterator[Metric]:
        lost = CounterMetricFamily(
            "opta_provider_failures", "Times that a model server could not be reached.", labels=["provider"]
        )
        open = GaugeMetricFamily(
            "opta_provider_breaker_open", "Whether a model server is left alone for now.", labels=["provider"]
        )
        for server in self.servers():
            lost.add_metric([server.name], server.breaker.total)
            open.add_metric([server.name], server.breaker.open)
        yield from (lost, open)


def kind_of(event: type[Body]) -> str:
    kind: str = event.model_fields["type"].default
    return kind


def word(ending: type[Body]) -> str:
    """`done` for turn.done."""
    return kind_of(ending).partition(".")[2]


def journal(database: Path) -> Path:
    return database.with_name(f"{database.name}-wal")


def size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0
