"""Who waits for the model, and whose turn it is.

Clients take turns by weighted deficit round-robin (Shreedhar and Varghese, 1996): whoever waits saves up
credit at an equal rate, and pays for a request with what it costs the model. So a client with long
prompts has as many tokens of the model as one with short ones, and a newcomer waits for nobody's backlog.
"""

import itertools
import math
import time
from bisect import insort
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from inference.errors import RunnerRefused
from inference.runner.engine import Job

# Tokens of credit per round: few, so that hardly any are left over when a client waits for nothing more.
CREDIT = {"interactive": 4, "batch": 1}
# An answer's length is not known before: what it costs is taken to be this, or less where it must be.
ANSWER = 256
# Shorter prompts of the same client may pass a prompt, but one for every so many of its tokens at most.
TOKENS_PER_PASS = 512
# Seconds: the longest and the shortest time to ask a refused client to wait.
SOONEST, LATEST = 1, 60


class Place(NamedTuple):
    """A job in its lane: the lower rank goes first, then the lower number."""

    rank: float
    number: int
    tokens: int
    job: Job

    @property
    def cost(self) -> int:
        return self.tokens + min(self.job.max_tokens, ANSWER)


@dataclass(eq=False)
class Lane:
    """What one client waits for with one priority; `credit` is in tokens."""

    client: str
    priority: str
    places: list[Place] = field(default_factory=list)
    credit: float = 0

    def first(self, longest: int | None) -> Place | None:
        """The first whose prompt has at most `longest` tokens."""
        return next((place for place in self.places if longest is None or place.tokens <= longest), None)


class Turn(NamedTuple):
    """What a lane would pay for next, and how many rounds it has yet to save up for it."""

    lane: Lane
    place: Place
    # Credit per round.
    rate: float
    rounds: int


class Queue:
    """At most `limit` requests. Not for two threads at once."""

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit, self.clock = limit, clock
        # In the order of their turns.
        self.lanes: list[Lane] = []
        # Jobs that wait for another one's prompt to be read, by that one.
        self.followers: dict[int, list[Job]] = {}
        self.numbers = itertools.count()
        # When the last requests left.
        self.left: deque[float] = deque(maxlen=16)

    def __len__(self) -> int:
        """The jobs that wait, followers included."""
        return sum(len(lane.places) for lane in self.lanes) + sum(map(len, self.followers.values()))

    def put(self, jobs: list[Job]) -> None:
        """Let the jobs of one request wait. Raises RunnerRefused when it is full."""
        self.refuse_beyond_bounds(jobs[0].client)
        for job in jobs:
            if job.after is None:
                self.enter(job, next(self.numbers))
            else:
                self.followers.setdefault(job.after, []).append(job)

    def release(self, id: int) -> None:
        """The prompt of job `id` is read, or will not be: those that waited for it wait for their turn."""
        for job in self.followers.pop(id, ()):
            self.enter(job, 0)

    def remove(self, id: int) -> None:
        """Forget a job that nobody waits for, if it is here."""
        for lane in [lane for lane in self.lanes if any(place.job.id == id for place in lane.places)]:
            lane.places = [place for place in lane.places if place.job.id != id]
            self.close_empty(lane)
        for waiting in self.followers.values():
            waiting[:] = [job for job in waiting if job.id != id]
        self.release(id)

    def take(self, room: Callable[[Job], bool], longest: int | None = None) -> Job | None:
        """The job whose turn it is, of those whose prompt has at most `longest` tokens; None when there is
        no `room` for it, for whoever would slip in before it could do so for ever."""
        turns = self.turns(longest)
        turn = min(turns, key=lambda turn: turn.rounds, default=None)
        if turn is None or not room(turn.place.job):
            return None
        self.save_up(turns, turn)
        self.pay(turn.lane, turn.place)
        return turn.place.job

    def enter(self, job: Job, number: int) -> None:
        lane = next((lane for lane in self.lanes if belongs(job, lane)), None)
        if lane is None:
            lane = Lane(job.client, job.priority)
            self.lanes.append(lane)
        tokens = unread(job)
        insort(lane.places, Place(number + tokens / TOKENS_PER_PASS, number, tokens, job), key=order)

    def turns(self, longest: int | None) -> list[Turn]:
        """In order. A client that waits with both priorities has no more than with the better one alone."""
        whole: Counter[str] = Counter()
        for lane in self.lanes:
            whole[lane.client] += CREDIT[lane.priority]
        turns = []
        for lane in self.lanes:
            if place := lane.first(longest):
                rate = CREDIT[lane.priority] * min(1, max(CREDIT.values()) / whole[lane.client])
                rounds = max(0, math.ceil((place.cost - lane.credit) / rate))
                turns.append(Turn(lane, place, rate, rounds))
        return turns

    def save_up(self, turns: list[Turn], chosen: Turn) -> None:
        """As many rounds as `chosen` had to wait; in the last of them, those before it had their turn."""
        last = turns.index(chosen)
        for position, turn in enumerate(turns):
            turn.lane.credit += turn.rate * (chosen.rounds + (position < last))
        at = self.lanes.index(chosen.lane)
        self.lanes = self.lanes[at:] + self.lanes[:at]

    def pay(self, lane: Lane, place: Place) -> None:
        lane.credit -= place.cost
        lane.places.remove(place)
        self.close_empty(lane)
        if place.job.after is None:
            self.left.append(self.clock())

    def close_empty(self, lane: Lane) -> None:
        """Credit is for those who wait: nobody saves up for a burst."""
        if not lane.places:
            self.lanes.remove(lane)

    def refuse_beyond_bounds(self, client: str) -> None:
        """A client may have as many waiting as it leaves free (Choudhury and Hahne's dynamic threshold,
        1998): alone half of the queue, and there is always a place for one more client."""
        waiting = [place.job.client for lane in self.lanes for place in lane.places if not place.job.after]
        if len(waiting) >= self.limit:
            raise self.refusal(f"{len(waiting)} requests wait for this model, as many as may (LMX_QUEUE).")
        mine = waiting.count(client)
        if mine >= self.limit - len(waiting):
            raise self.refusal(f"{mine} of your requests wait for this model, a fair part of {self.limit}.")

    def refusal(self, message: str) -> RunnerRefused:
        return RunnerRefused(
            f"{message} Ask again when some are answered.",
            status=429,
            code="queue_full",
            retry_after=self.wait(),
        )

    def wait(self) -> int:
        """Seconds until each client has had a turn, at the speed at which requests left so far."""
        if not self.left:
            return SOONEST
        each = (self.clock() - self.left[0]) / len(self.left)
        clients = len({lane.client for lane in self.lanes})
        return min(max(SOONEST, math.ceil(each * clients)), LATEST)


def belongs(job: Job, lane: Lane) -> bool:
    return (job.client, job.priority) == (lane.client, lane.priority)


def order(place: Place) -> tuple[float, int]:
    return place.rank, place.number


def unread(job: Job) -> int:
    """The tokens to read before its answer; a follower's prompt is read but for the last one."""
    return len(job.tokens) if job.after is None else 1
