"""Who runs next: the loop of the one thread that owns the model."""

import time
from collections.abc import Callable
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any

import msgspec

from inference.errors import RunnerRefused
from inference.request import Activity
from inference.runner.engine import Engine, Job, Step
from inference.runner.pace import Pace
from inference.runner.queue import Queue, unread

# Something to do with the engine between two steps.
Order = Callable[[Engine], object]

# So many prompts longer than SHORT tokens are read at once; shorter ones need not wait for their end.
LONG_AT_ONCE, SHORT = 2, 256


class Scheduler(Thread):
    """Loads the model, then steps it while there is work.

    `deliver` gets every step that brought something; `fail` gets what the load or a step raised, and ends
    the loop: the state of a model that raised is unknown. Both are called on this thread.
    """

    def __init__(
        self,
        load: Callable[[], Engine],
        queue: Queue,
        *,
        ready: Callable[[Activity], object],
        deliver: Callable[[Step], object],
        fail: Callable[[Exception], object],
    ) -> None:
        super().__init__(name="model", daemon=True)
        self.load, self.ready, self.deliver, self.fail = load, ready, deliver, fail
        self.orders: SimpleQueue[Order] = SimpleQueue()
        self.queue, self.lock = queue, Lock()
        self.pace = Pace()
        # What the engine holds: prompt tokens yet to read by job, and the jobs that decode.
        self.reading: dict[int, int] = {}
        self.decoding: set[int] = set()

    def submit(self, jobs: list[Job]) -> None:
        """Queue the jobs of one request. Raises RunnerRefused when the queue is full."""
        with self.lock:
            self.queue.put(jobs)
        self.orders.put(wake)

    def cancel(self, id: int) -> None:
        """Takes effect before the next step; an answer that ended meanwhile is no matter."""

        def forget(engine: Engine) -> None:
            engine.remove(id)
            self.forget(id)

        self.orders.put(forget)

    def order(self, order: Callable[[Engine], Any], done: Callable[[Any, Exception | None], object]) -> None:
        """Call `order` between two steps, and `done` with what it returned, or with the refusal it raised."""

        def run(engine: Engine) -> None:
            try:
                done(order(engine), None)
            except RunnerRefused as error:
                done(None, error)

        self.orders.put(run)

    def activity(self, engine: Engine) -> Activity:
        """What the engine does, and who waits for it; an order."""
        found = engine.activity
        return msgspec.structs.replace(found, queued=found.queued + self.queued)

    @property
    def queued(self) -> int:
        with self.lock:
            return len(self.queue)

    def run(self) -> None:
        try:
            engine = self.load()
            self.ready(engine.activity)
            while True:
                self.prepare(engine)
                step = self.step(engine)
                self.settle(step)
        except Exception as error:  # whatever a model raises, the front must hear of it
            self.fail(error)

    def prepare(self, engine: Engine) -> None:
        """Do what was ordered, then admit who can run; when there is nothing to do, wait for an order."""
        if not engine.busy and not self.queued:
            self.orders.get()(engine)
        for _ in range(self.orders.qsize()):
            self.orders.get()(engine)
        while job := self.next(engine):
            engine.admit(job)
            self.reading[job.id] = unread(job)

    def next(self, engine: Engine) -> Job | None:
        """Whose turn it is, if it can be admitted; an empty engine takes anybody."""
        long = sum(left > SHORT for left in self.reading.values())
        with self.lock:
            return self.queue.take(
                lambda job: not engine.busy or engine.room(job), SHORT if long >= LONG_AT_ONCE else None
            )

    def step(self, engine: Engine) -> Step:
        decoding = len(self.decoding)
        budget = self.pace.budget(decoding)
        start = time.perf_counter()
        step = engine.step(budget)
        self.pace.note(time.perf_counter() - start, min(self.read(step), budget), decoding)
        return step

    def read(self, step: Step) -> int:
        """How many prompt tokens the step read; of a prompt seen first, those that were kept too."""
        before = sum(self.reading.values())
        for id, done, total in step.progress:
            if id in self.reading:
                self.reading[id] = total - done
        return before - sum(self.reading.values())

    def settle(self, step: Step) -> None:
        """Keep the books, and pass on what came."""
        for id in [id for id, left in self.reading.items() if not left]:
            self.begin_decoding(id)
        for token in step.tokens:
            self.begin_decoding(token.id)
            if token.finish:
                self.forget(token.id)
        if step.tokens or step.progress:
            self.deliver(step)

    def begin_decoding(self, id: int) -> None:
        if self.reading.pop(id, None) is not None:
            self.decoding.add(id)
            with self.lock:
                self.queue.release(id)

    def forget(self, id: int) -> None:
        self.reading.pop(id, None)
        self.decoding.discard(id)
        with self.lock:
            self.queue.remove(id)


def wake(_: Engine) -> None:
    """The order that ends a wait for one."""
