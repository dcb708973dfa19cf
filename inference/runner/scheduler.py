"""Who runs next: the loop of the one thread that owns the model."""

import queue
from collections.abc import Callable, Iterator
from threading import Thread
from typing import Any

from inference.errors import RunnerRefused
from inference.request import Activity
from inference.runner.engine import Engine, Job, Step

# Something to do with the engine between two steps.
Order = Callable[[Engine], object]


class Scheduler(Thread):
    """Loads the model, then steps it while there is work.

    `deliver` gets every step that brought something; `fail` gets what the load or a step raised, and ends
    the loop: the state of a model that raised is unknown. Both are called on this thread.
    """

    def __init__(
        self,
        load: Callable[[], Engine],
        *,
        ready: Callable[[Activity], object],
        deliver: Callable[[Step], object],
        fail: Callable[[Exception], object],
    ) -> None:
        super().__init__(name="model", daemon=True)
        self.load, self.ready, self.deliver, self.fail = load, ready, deliver, fail
        self.orders: queue.SimpleQueue[Order] = queue.SimpleQueue()

    def submit(self, jobs: list[Job]) -> None:
        """Queue the jobs of one request. Raises RunnerRefused when the queue is full."""

        def admit(engine: Engine) -> None:
            for job in jobs:
                engine.admit(job)

        self.orders.put(admit)

    def cancel(self, id: int) -> None:
        """Takes effect before the next step; an answer that ended meanwhile is no matter."""
        self.orders.put(lambda engine: engine.remove(id))

    def order(self, order: Callable[[Engine], Any], done: Callable[[Any, Exception | None], object]) -> None:
        """Call `order` between two steps, and `done` with what it returned, or with the refusal it raised."""

        def run(engine: Engine) -> None:
            try:
                done(order(engine), None)
            except RunnerRefused as error:
                done(None, error)

        self.orders.put(run)

    def run(self) -> None:
        try:
            engine = self.load()
            self.ready(engine.activity)
            while True:
                for order in self.waiting(engine.busy):
                    order(engine)
                step = engine.step(2048)
                if step.tokens or step.progress:
                    self.deliver(step)
        except Exception as error:  # whatever a model raises, the front must hear of it
            self.fail(error)

    def waiting(self, busy: bool) -> Iterator[Order]:
        """Every order there is; when the engine is idle, wait for the first."""
        if not busy:
            yield self.orders.get()
        while not self.orders.empty():
            yield self.orders.get()
