"""Whose turn it is: what holds for every order in which requests come and go."""

import itertools
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.errors import RunnerRefused
from inference.request import Sampling
from inference.runner.engine import Job
from inference.runner.queue import ANSWER, CREDIT, TOKENS_PER_PASS, Queue

LONGEST = 4000
CHEAPEST, DEAREST = 2, LONGEST + ANSWER
lengths = st.integers(1, LONGEST)
clients = st.sampled_from("abcd")
priorities = st.sampled_from(sorted(CREDIT))
requests = st.tuples(clients, priorities, lengths)


class Requests:
    """Makes jobs with ids of their own."""

    def __init__(self) -> None:
        self.ids = itertools.count(1)

    def job(self, client: str, priority: str, length: int, max_tokens: int = ANSWER) -> Job:
        return Job(next(self.ids), [0] * length, max_tokens, Sampling(), client=client, priority=priority)

    def choices(self, count: int, length: int = 10, client: str = "a") -> list[Job]:
        first = self.job(client, "interactive", length)
        more = [
            Job(next(self.ids), first.tokens, ANSWER, Sampling(), client=client, after=first.id)
            for _ in range(count - 1)
        ]
        return [first, *more]


def always(_: Job) -> bool:
    return True


def never(_: Job) -> bool:
    return False


def cost(job: Job) -> int:
    return len(job.tokens) + min(job.max_tokens, ANSWER)


def drain(queue: Queue) -> Iterator[Job]:
    while job := queue.take(always):
        yield job


def served(queue: Queue, make: Requests, lanes: dict[tuple[str, str], int], takes: int) -> Counter[str]:
    """The tokens each lane got in so many turns, when each always waits with prompts of its length."""
    got: Counter[str] = Counter()
    for (client, priority), length in [*lanes.items()] * 2:
        queue.put([make.job(client, priority, length)])
    for _ in range(takes):
        job = queue.take(always)
        assert job
        got[f"{job.client} {job.priority}"] += cost(job)
        queue.put([make.job(job.client, job.priority, len(job.tokens))])
    return got


@given(st.lists(st.one_of(requests, st.none()), max_size=60))
def test_a_turn_is_never_lost_and_nobody_is_served_twice(moves: list[tuple[str, str, int] | None]):
    """A request to come, or None for a turn."""
    queue, make = Queue(1000), Requests()
    waiting: set[int] = set()
    for move in moves:
        if move:
            job = make.job(*move)
            queue.put([job])
            waiting.add(job.id)
        else:
            taken = queue.take(always)
            assert (taken is None) is (not waiting)
            waiting -= {taken.id} if taken else set()
        assert len(queue) == len(waiting)
    assert sorted(job.id for job in drain(queue)) == sorted(waiting)


@given(st.lists(requests, min_size=1, max_size=30))
def test_without_room_nothing_changes(wanted: list[tuple[str, str, int]]):
    asked, undisturbed = Queue(1000), Queue(1000)
    for queue in (asked, undisturbed):
        make = Requests()
        for one in wanted:
            queue.put([make.job(*one)])
    expected = [job.id for job in drain(undisturbed)]
    for id in expected:
        assert asked.take(never) is None
        assert len(asked) == len(expected) - expected.index(id)
        taken = asked.take(always)
        assert taken and taken.id == id


@given(st.lists(lengths, min_size=2, max_size=5), st.integers(10, 120))
def test_clients_that_always_wait_get_equally_many_tokens(prompts: list[int], takes: int):
    lanes = {(str(number), "interactive"): length for number, length in enumerate(prompts)}
    got = served(Queue(1000), Requests(), lanes, takes)
    shares = [got[" ".join(lane)] for lane in lanes]
    assert max(shares) - min(shares) <= CREDIT["interactive"] + DEAREST


@given(st.lists(lengths, min_size=2, max_size=5), lengths, st.integers(1, 40))
def test_a_client_that_asks_for_more_at_once_gets_no_more(prompts: list[int], single: int, turns: int):
    """Over any stretch in which both wait: one with a backlog, one with a single request at a time."""
    queue, make = Queue(10_000), Requests()
    for length in itertools.islice(itertools.cycle(prompts), 200):
        queue.put([make.job("backlog", "interactive", length)])
    queue.put([make.job("single", "interactive", single)])
    got: Counter[str] = Counter()
    for _ in range(turns):
        job = queue.take(always)
        assert job
        got[job.client] += cost(job)
        if job.client == "single":
            queue.put([make.job("single", "interactive", single)])
    # What the single one has saved up beyond its request's cost is lost, each time.
    fair = 1 + CREDIT["interactive"] / (single + ANSWER)
    assert got["backlog"] <= got["single"] * fair + CREDIT["interactive"] + 2 * DEAREST


@given(lengths, lengths, st.integers(20, 200))
def test_interactive_gets_four_times_what_batch_gets_and_no_more(quick: int, slow: int, takes: int):
    lanes = {("a", "interactive"): quick, ("b", "batch"): slow}
    got = served(Queue(1000), Requests(), lanes, takes)
    ratio = CREDIT["interactive"] / CREDIT["batch"]
    assert ratio == 4
    assert abs(got["a interactive"] / ratio - got["b batch"]) <= 1 + DEAREST


@given(lengths, st.integers(50, 200))
def test_both_priorities_buy_a_client_no_more_than_the_better_one(length: int, takes: int):
    lanes = {("a", "interactive"): length, ("a", "batch"): length, ("b", "interactive"): length}
    got = served(Queue(1000), Requests(), lanes, takes)
    both = got["a interactive"] + got["a batch"]
    assert abs(both - got["b interactive"]) <= CREDIT["interactive"] + 2 * DEAREST


@settings(max_examples=30)  # each has hundreds of moves
@given(
    st.lists(st.tuples(priorities, lengths), max_size=4),
    st.tuples(priorities, lengths),
    st.lists(st.tuples(st.integers(0, 5), priorities, lengths), min_size=400, max_size=400),
)
def test_nobody_waits_longer_than_a_bound(
    ahead: list[tuple[str, int]], mine: tuple[str, int], flood: list[tuple[int, str, int]]
):
    """However others flood the queue: between two turns somebody new comes, and may be someone new."""
    queue, make = Queue(1000), Requests()
    for priority, length in ahead:
        queue.put([make.job("me", priority, length)])
    job = make.job("me", *mine)
    queue.put([job])
    others = 0
    for client, priority, length in flood:
        queue.put([make.job(f"other {client}", priority, length)])
        taken = queue.take(always)
        assert taken
        if taken.id == job.id:
            break
        others += cost(taken) if taken.client != "me" else 0
    # To save up for all of mine at batch's rate takes so many rounds, and in each the others, two lanes of
    # six clients, get what they save up too, and no more than one request ahead of it.
    own = sum(length + ANSWER for _, length in ahead) + cost(job)
    rounds = own / (CREDIT["batch"] * 0.8) + len(ahead) + 1
    assert others <= 6 * CREDIT["interactive"] * rounds + 12 * DEAREST


@given(st.lists(lengths, min_size=1, max_size=60))
def test_a_clients_prompt_is_passed_by_few_shorter_ones(prompts: list[int]):
    queue, make = Queue(1000), Requests()
    jobs = [make.job("a", "interactive", length) for length in prompts]
    for job in jobs:
        queue.put([job])
    order = [job.id for job in drain(queue)]
    for position, job in enumerate(jobs):
        passed = [other for other in jobs[position + 1 :] if order.index(other.id) < order.index(job.id)]
        assert len(passed) <= len(job.tokens) / TOKENS_PER_PASS
        assert all(len(other.tokens) < len(job.tokens) for other in passed)


def test_a_short_prompt_passes_a_long_one_of_its_client():
    queue, make = Queue(10), Requests()
    long, short = make.job("a", "interactive", 4000), make.job("a", "interactive", 10)
    queue.put([long])
    queue.put([short])
    assert list(drain(queue)) == [short, long]


def test_a_newcomer_does_not_wait_for_a_backlog():
    queue, make = Queue(1000), Requests()
    for _ in range(100):
        queue.put([make.job("a", "interactive", 100)])
    for _ in range(7):
        queue.take(always)
    queue.put([make.job("b", "interactive", 100)])
    first = [job.client for job in itertools.islice(drain(queue), 3)]
    assert "b" in first


def test_while_only_short_prompts_may_go_the_long_ones_keep_their_turn():
    queue, make = Queue(100), Requests()
    long = make.job("a", "interactive", 4000)
    queue.put([long])
    short = [make.job(client, "interactive", 20) for client in "abc"]
    for job in short:
        queue.put([job])
    found = [queue.take(always, longest=256) for _ in range(4)]
    assert sorted(job.id for job in found if job) == [job.id for job in short]
    assert found[3] is None
    assert queue.take(always) == long


def test_the_other_choices_wait_until_the_first_has_read_the_prompt():
    queue, make = Queue(10), Requests()
    first, *others = make.choices(3)
    queue.put([first, *others])
    assert len(queue) == 3
    assert list(drain(queue)) == [first]
    queue.release(first.id)
    assert list(drain(queue)) == others


def test_the_other_choices_go_before_what_their_client_asked_later():
    queue, make = Queue(10), Requests()
    first, *others = make.choices(2)
    queue.put([first, *others])
    queue.take(always)
    queue.put([make.job("a", "interactive", 1)])
    queue.release(first.id)
    assert next(drain(queue)) == others[0]


@given(st.lists(st.integers(1, 4), min_size=1, max_size=5), st.data())
def test_what_is_removed_never_comes(counts: list[int], data: st.DataObject):
    queue, make = Queue(1000), Requests()
    jobs = [job for count in counts for job in request(queue, make, count)]
    gone = data.draw(st.lists(st.sampled_from([job.id for job in jobs]), unique=True))
    for id in gone:
        queue.remove(id)
    left = []
    for job in drain(queue):
        left.append(job.id)
        queue.release(job.id)
    assert sorted(left) == [job.id for job in jobs if job.id not in gone]
    assert len(queue) == 0


def request(queue: Queue, make: Requests, count: int) -> list[Job]:
    jobs = make.choices(count)
    queue.put(jobs)
    return jobs


@given(st.integers(1, 40), st.lists(clients, max_size=80))
def test_it_is_bounded_and_has_a_place_for_one_client_more(limit: int, asking: list[str]):
    queue, make = Queue(limit), Requests()
    for client in asking:
        try:
            queue.put([make.job(client, "interactive", 1)])
        except RunnerRefused as refused:
            assert (refused.status, refused.code) == (429, "queue_full")
            assert refused.retry_after
    assert len(queue) <= limit
    if len(queue) < limit:
        queue.put([make.job("newcomer", "interactive", 1)])


def test_one_client_alone_has_half_of_it():
    queue, make = Queue(10), Requests()
    for _ in range(5):
        queue.put([make.job("a", "interactive", 1)])
    with pytest.raises(RunnerRefused, match="5 of your requests") as caught:
        queue.put(make.choices(3))
    assert (caught.value.status, caught.value.code) == (429, "queue_full")
    # Nothing of what was refused stays.
    assert len(queue) == 5
    queue.put([make.job("b", "interactive", 1)])


@pytest.mark.parametrize(("each", "seconds"), [(0.01, 1), (2, 4), (100, 60)])
def test_a_refused_client_is_told_when_it_has_had_a_turn(each: float, seconds: int):
    """Two clients wait, and a request leaves every `each` seconds."""
    now = 0.0
    queue, make = Queue(2, clock=lambda: now), Requests()
    for _ in range(8):
        queue.put([make.job("a", "interactive", 1)])
        assert queue.take(always)
        now += each
    for client in "ab":
        queue.put([make.job(client, "interactive", 1)])
    with pytest.raises(RunnerRefused) as caught:
        queue.put([make.job("c", "interactive", 1)])
    assert caught.value.retry_after == seconds
