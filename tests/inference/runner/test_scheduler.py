"""Who is admitted when, and what happens between two steps, with an engine that steps when it is told."""

import itertools
from collections.abc import Iterator
from queue import SimpleQueue
from threading import Semaphore
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.errors import RunnerRefused
from inference.request import Activity, Sampling
from inference.runner.engine import Job, Step, Token
from inference.runner.queue import Queue
from inference.runner.scheduler import LONG_AT_ONCE, SHORT, Scheduler

LONG = 20 * SHORT
IDLE = Activity("simulated", "none", "none", "none", *[0] * 7)


class Simulated:
    """An engine without a model: it reads prompts in order, and answers with zeros."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.permits = Semaphore(0)
        # Tokens to read and tokens to answer with, by job.
        self.held: dict[int, list[int]] = {}
        self.totals: dict[int, int] = {}
        # What happened, in order: ("step", budget), ("admit", job) or ("remove", job).
        self.log: list[tuple[str, int]] = []

    @property
    def busy(self) -> bool:
        return bool(self.held)

    @property
    def activity(self) -> Activity:
        prefilling = sum(left > 0 for left, _ in self.held.values())
        return msgspec.structs.replace(IDLE, prefilling=prefilling, decoding=len(self.held) - prefilling)

    def room(self, job: Job) -> bool:
        return len(self.held) < self.rows

    def admit(self, job: Job) -> None:
        self.log.append(("admit", job.id))
        self.held[job.id] = [len(job.tokens), job.max_tokens]
        self.totals[job.id] = len(job.tokens)

    def remove(self, id: int) -> None:
        self.log.append(("remove", id))
        self.held.pop(id, None)

    def step(self, budget: int) -> Step:
        self.permits.acquire()
        self.log.append(("step", budget))
        tokens = [self.answer(id) for id, (left, _) in list(self.held.items()) if not left]
        return Step(tokens, list(self.read(budget)))

    def read(self, budget: int) -> Iterator[tuple[int, int, int]]:
        for id, one in self.held.items():
            if one[0] and budget:
                count = min(one[0], budget)
                one[0], budget = one[0] - count, budget - count
                yield id, self.totals[id] - one[0], self.totals[id]

    def answer(self, id: int) -> Token:
        self.held[id][1] -= 1
        if not self.held[id][1]:
            del self.held[id]
            return Token(id, 0, "length", 0)
        return Token(id, 0, None, 0)


class Stage:
    """A scheduler on its thread, stepped by hand."""

    def __init__(self, rows: int = 32, limit: int = 128) -> None:
        self.engine = Simulated(rows)
        self.ids = itertools.count(1)
        self.ready: SimpleQueue[Activity] = SimpleQueue()
        self.steps: SimpleQueue[Step] = SimpleQueue()
        self.failures: SimpleQueue[Exception] = SimpleQueue()
        self.scheduler = Scheduler(
            lambda: self.engine,
            Queue(limit),
            ready=self.ready.put,
            deliver=self.steps.put,
            fail=self.failures.put,
        )
        self.scheduler.start()
        self.ready.get(timeout=10)

    def ask(self, length: int, max_tokens: int = 5, choices: int = 1, client: str = "") -> list[int]:
        """Submit a request; its jobs' ids."""
        first = next(self.ids)
        jobs = [
            Job(id, [0] * length, max_tokens, Sampling(), client=client, after=first if id != first else None)
            for id in [first, *itertools.islice(self.ids, choices - 1)]
        ]
        self.scheduler.submit(jobs)
        return [job.id for job in jobs]

    def step(self, times: int = 1) -> Step:
        """Let so many steps happen; what the last of them brought."""
        for _ in range(times):
            self.engine.permits.release()
            found = self.steps.get(timeout=10)
        return found

    def order(self, order: Any) -> SimpleQueue[Any]:
        answers: SimpleQueue[Any] = SimpleQueue()
        self.scheduler.order(order, lambda *answer: answers.put(answer))
        return answers

    def activity(self) -> Activity:
        """What it was before the next step, which is let happen."""
        answers = self.order(self.scheduler.activity)
        self.engine.permits.release()
        found: Activity = answers.get(timeout=10)[0]
        return found

    def end(self) -> None:
        """Let the step that runs happen, and no other."""
        self.scheduler.order(interrupt, lambda *_: None)
        self.engine.permits.release(100_000)
        self.scheduler.join(10)
        assert not self.scheduler.is_alive()

    def admitted(self) -> list[int]:
        return [id for what, id in self.engine.log if what == "admit"]


def interrupt(_: object) -> None:
    raise InterruptedError


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.end()


@pytest.fixture
def narrow() -> Iterator[Stage]:
    """An engine with room for one."""
    stage = Stage(rows=1, limit=4)
    yield stage
    stage.end()


def test_a_cancelled_job_is_gone_before_the_next_step(stage: Stage):
    (id,) = stage.ask(10)
    stage.step(2)
    stage.scheduler.cancel(id)
    stage.ask(10)
    stage.step(2)
    # The step that ran when it was cancelled, and none after that.
    at = stage.engine.log.index(("remove", id))
    assert [what for what, _ in stage.engine.log[:at]].count("step") <= 3


def test_a_job_cancelled_while_it_waits_is_never_admitted(narrow: Stage):
    (running,) = narrow.ask(10, max_tokens=50)
    narrow.step()
    (waiting,) = narrow.ask(10)
    narrow.scheduler.cancel(waiting)
    narrow.scheduler.cancel(running)
    (last,) = narrow.ask(10)
    narrow.step(2)
    assert narrow.admitted() == [running, last]


def test_an_order_waits_for_one_step_at_most(stage: Stage):
    stage.ask(100 * LONG)
    stage.step(2)
    before = [what for what, _ in stage.engine.log].count("step")
    answers = stage.order(lambda engine: [what for what, _ in engine.log].count("step"))
    stage.step(2)
    assert answers.get(timeout=10)[0] <= before + 1


def test_an_orders_refusal_is_its_answer(stage: Stage):
    def refuse(_: object) -> None:
        raise RunnerRefused("no")

    result, error = stage.order(refuse).get(timeout=10)
    assert (result, str(error)) == (None, "no")


def test_who_waits_is_counted_beside_what_the_engine_does(narrow: Stage):
    narrow.ask(10, max_tokens=50)
    narrow.step(3)
    narrow.ask(10, client="b", choices=3)
    found = narrow.activity()
    assert (found.queued, found.prefilling, found.decoding) == (3, 0, 1)


def test_a_full_queue_refuses_at_once(narrow: Stage):
    narrow.ask(10, max_tokens=50)
    narrow.step(3)
    narrow.ask(10)
    narrow.ask(10)
    with pytest.raises(RunnerRefused) as caught:
        narrow.ask(10)
    assert (caught.value.status, caught.value.code) == (429, "queue_full")


def test_the_other_choices_are_admitted_when_the_first_has_read_their_prompt(stage: Stage):
    first, *others = stage.ask(3 * SHORT, choices=3, max_tokens=50)
    while any(done < total for _, done, total in stage.step().progress):
        assert stage.admitted() == [first]
    stage.step()
    assert stage.admitted() == [first, *others]


def test_the_other_choices_are_admitted_when_the_first_is_over(stage: Stage):
    first, *others = stage.ask(100 * LONG, choices=3)
    stage.step(2)
    stage.scheduler.cancel(first)
    stage.step(2)
    assert stage.admitted() == [first, *others]


def test_a_short_prompt_does_not_wait_for_long_ones_to_be_read(stage: Stage):
    long = [stage.ask(LONG, client=str(number))[0] for number in range(5)]
    stage.step()
    (short,) = stage.ask(SHORT, client="short")
    stage.step(2)
    assert short in stage.admitted()
    assert [id in stage.admitted() for id in long].count(True) == LONG_AT_ONCE


def test_every_long_prompt_has_its_turn(stage: Stage):
    long = [stage.ask(LONG, client=str(number))[0] for number in range(5)]
    while len(stage.admitted()) < len(long):
        stage.step()
    assert sorted(stage.admitted()) == long


def test_prompts_are_read_in_small_pieces_while_somebody_decodes(stage: Stage):
    stage.ask(10, max_tokens=100)
    stage.step(3)
    stage.ask(100 * LONG)
    stage.step(30)
    alone = next(budget for what, budget in stage.engine.log if what == "step")
    beside = [budget for what, budget in stage.engine.log if what == "step"][5:30]
    assert 0 in beside
    assert min(budget for budget in beside if budget) < alone


def test_an_empty_engine_takes_anybody():
    stage = Stage(rows=0)
    (first,), (second,) = stage.ask(10), stage.ask(10)
    stage.step(12)
    assert stage.admitted() == [first, second]
    stage.end()


def test_what_an_engine_raises_is_told_and_is_the_end():
    stage = Stage()
    (id,) = stage.ask(10)
    stage.step()
    # An engine that has lost a job which it was given.
    stage.order(lambda engine: engine.totals.clear())
    stage.engine.held[id] = [5, 5]
    for _ in range(3):
        stage.engine.permits.release()
    assert isinstance(stage.failures.get(timeout=10), KeyError)
    stage.scheduler.join(10)
    assert not stage.scheduler.is_alive()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 3 * SHORT), st.integers(1, 4), st.booleans()), max_size=20))
def test_nothing_is_left_when_all_have_ended(asked: list[tuple[int, int, bool]]):
    """Whoever comes, and is cancelled at whatever moment."""
    stage = Stage(rows=4)
    try:
        for number, (length, choices, cancelled) in enumerate(asked):
            jobs = stage.ask(length, choices=choices, client=str(number))
            stage.engine.permits.release(2)
            for id in jobs if cancelled else []:
                stage.scheduler.cancel(id)
        stage.engine.permits.release(100_000)
        while (found := stage.order(stage.scheduler.activity).get(timeout=10)[0]) != IDLE:
            assert found.queued >= 0
        assert (stage.scheduler.reading, stage.scheduler.decoding) == ({}, set())
        assert stage.engine.held == {}
    finally:
        stage.end()
