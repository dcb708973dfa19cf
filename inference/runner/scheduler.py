"""Who runs next: the loop of the one thread that owns the model."""

import queue
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Thread
from typing import NamedTuple, Protocol

from inference.request import Activity


@dataclass(frozen=True)
class Job:
    """One answer to generate: the prompt's tokens, how to choose the next ones, and how many at most."""

    id: int
    tokens: list[int]
    max_tokens: int
    temperature: float
    top_p: float
    seed: int | None


class Token(NamedTuple):
    """A generated token; `finish` is "stop" (and this is the end token), "length" or None."""

    id: int
    token: int
    finish: str | None
    cached_tokens: int


class Engine(Protocol):
    """What every engine can do; all of it is called on one thread."""

    @property
    def busy(self) -> bool: ...
    @property
    def activity(self) -> Activity: ...
    def admit(self, job: Job) -> None: ...
    def remove(self, id: int) -> None: ...
    def step(self) -> list[Token]: ...


# Something to do with the engine between two steps.
Order = Callable[[Engine], object]


class Scheduler(Thread):
    """Loads the model, then steps it while there is work.

    `deliver` gets every step's tokens; `fail` gets what the load or a step raised, and ends the loop:
    the state of a model that raised is unknown. Both are called on this thread.
    """

    def __init__(
        self,
        load: Callable[[], Engine],
        *,
        ready: Callable[[Activity], object],
        deliver: Callable[[list[Token]], object],
        fail: Callable[[Exception], object],
    ) -> None:
        super().__init__(name="model", daemon=True)
        self.load, self.ready, self.deliver, self.fail = load, ready, deliver, fail
        self.orders: queue.SimpleQueue[Order] = queue.SimpleQueue()

    def submit(self, job: Job) -> None:
        self.orders.put(lambda engine: engine.admit(job))

    def cancel(self, id: int) -> None:
        """Takes effect before the next step; an answer that ended meanwhile is no matter."""
        self.orders.put(lambda engine: engine.remove(id))

    def inspect(self, then: Callable[[Activity], object]) -> None:
        """Call `then` with the engine's activity, between two steps."""
        self.orders.put(lambda engine: then(engine.activity))

    def run(self) -> None:
        try:
            engine = self.load()
            self.ready(engine.activity)
            while True:
                for order in self.waiting(engine.busy):
                    order(engine)
                if tokens := engine.step():
                    self.deliver(tokens)
        except Exception as error:  # whatever a model raises, the front must hear of it
            self.fail(error)

    def waiting(self, busy: bool) -> Iterator[Order]:
        """Every order there is; when the engine is idle, wait for the first."""
        if not busy:
            yield self.orders.get()
        while not self.orders.empty():
            yield self.orders.get()
