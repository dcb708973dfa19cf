"""How much a step reads, on simulated machines: seconds are computed here, and nothing is timed."""

import random
from dataclasses import dataclass
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.runner.pace import ALONE, ALONE_STEPS, EXTRA, LEAST, MOST, Pace


@dataclass
class Machine:
    """What a step costs, in seconds: decoding, reading anything at all, and each token read, which costs
    more the more was read before it."""

    decode: float
    read: float
    token: float
    growth: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        self.dice = random.Random(1)
        self.context = 0

    def step(self, read: int, decoding: int) -> float:
        seconds = self.decode * bool(decoding) + (self.read + self.token * read) * bool(read)
        seconds += self.growth * read * self.context
        self.context += read
        return seconds * (1 + self.noise * self.dice.random())


@dataclass
class Step:
    read: int
    seconds: float


def run(pace: Pace, machine: Machine, steps: int, decoding: int) -> list[Step]:
    found = []
    for _ in range(steps):
        read = pace.budget(decoding)
        found.append(Step(read, machine.step(read, decoding)))
        pace.note(found[-1].seconds, read, decoding)
    return found


def reading(steps: list[Step]) -> list[Step]:
    return [step for step in steps if step.read]


# From a small model on a graphics card to a large one on a slow processor.
MACHINES = [
    Machine(decode=0.002, read=0.001, token=0.0001),
    Machine(decode=0.012, read=0.01, token=0.0004),
    Machine(decode=0.03, read=0.03, token=0.00005),
    Machine(decode=0.35, read=0.3, token=0.01),
]
machines = pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: f"{machine.decode:g} s")


@machines
def test_reading_beside_decoding_adds_a_few_decode_steps(machine: Machine):
    steps = run(Pace(), machine, 300, decoding=1)
    settled = [step.seconds - machine.decode for step in reading(steps[100:])]
    least = machine.read + LEAST * machine.token
    assert max(settled) <= max(EXTRA * machine.decode, least) * 1.05
    most = machine.read + MOST * machine.token
    assert min(settled) >= min(EXTRA * machine.decode, most) * 0.8


@machines
def test_it_never_adds_much_more_on_the_way_there(machine: Machine):
    """From the first step on, for what it begins with is little."""
    steps = run(Pace(), machine, 100, decoding=1)
    first = machine.read + 32 * machine.token
    assert max(step.seconds for step in steps) <= machine.decode + max(2 * EXTRA * machine.decode, first)


def test_chunks_shrink_while_contexts_grow():
    machine = Machine(decode=0.01, read=0.005, token=0.0001, growth=3e-8)
    steps = reading(run(Pace(), machine, 300, decoding=1)[20:])
    assert LEAST < steps[-1].read < steps[0].read / 2
    assert max(step.seconds for step in steps) < machine.decode * (1 + EXTRA) * 1.2


@machines
def test_alone_a_step_is_long_but_not_so_long_that_a_short_request_waits(machine: Machine):
    pace = Pace()
    run(pace, machine, 2, decoding=1)
    settled = run(pace, machine, 40, decoding=0)[20:]
    bound = max(ALONE, ALONE_STEPS * machine.decode)
    assert max(step.seconds for step in settled) <= bound * 1.05
    assert all(step.read == MOST or step.seconds >= bound * 0.8 for step in settled)


def test_a_fast_machine_reads_as_much_as_a_step_may():
    assert run(Pace(), Machine(0.002, 0.002, 0.00002), 10, decoding=0)[-1].read == MOST


@pytest.mark.parametrize("decoding", [0, 1])
def test_a_first_step_that_compiles_is_forgotten(decoding: int):
    machine = MACHINES[0]
    pace, fresh = Pace(), Pace()
    for _ in range(2):
        pace.note(8.0, pace.budget(decoding), decoding)
    settled = [run(found, machine, 60, decoding)[-10:] for found in (pace, fresh)]
    assert median(s.read for s in settled[0]) == pytest.approx(median(s.read for s in settled[1]), rel=0.03)


@given(st.lists(st.floats(0, 20), max_size=30), st.lists(st.integers(0, 4), min_size=1, max_size=30))
def test_no_measurement_stops_it(seconds: list[float], decoding: list[int]):
    """Whatever was measured, prompts are read on, in pieces of the promised sizes."""
    pace = Pace()
    for took in seconds:
        pace.note(took, pace.budget(1), 1)
    budgets = []
    for count in decoding:
        for _ in range(6):
            budgets.append(pace.budget(count))
            pace.note(0.002, budgets[-1], count)
    assert all(budget == 0 or LEAST <= budget <= MOST for budget in budgets)
    assert sum(budget > 0 for budget in budgets) >= len(budgets) / 2


def test_noise_moves_it_little():
    quiet, noisy = (Machine(0.002, 0.001, 0.0001, noise=noise) for noise in (0, 1))
    sizes = [median(s.read for s in reading(run(Pace(), m, 400, 1)[100:])) for m in (quiet, noisy)]
    assert sizes[0] / 2 < sizes[1] < sizes[0] * 2


def test_it_follows_a_batch_whose_steps_become_longer_or_shorter():
    """When somebody with a long context begins to decode or ends, a decode step costs another time."""
    machines = {count: Machine(0.002 * count, 0.001, 0.0001) for count in (1, 6)}
    pace = Pace()
    for count in (1, 6, 1, 6, 1):
        found = run(pace, machines[count], 100, count)
        late = reading(found[12:])
        assert max(step.seconds for step in late) <= machines[count].decode * (1 + EXTRA) * 1.1
        assert median(step.seconds for step in late) >= machines[count].decode * (1 + EXTRA) * 0.7


def test_a_step_that_makes_one_batch_of_many_is_not_taken_for_what_decoding_costs():
    """Whoever joins with a long context is copied once, in the first step that only decodes."""
    machine = Machine(0.004, 0.005, 0.002)
    pace = Pace()
    run(pace, machine, 60, decoding=1)
    for count in (2, 3):
        steps = run(pace, machine, 30, decoding=count)
        joining = next(place for place, step in enumerate(steps) if not step.read)
        pace = Pace()
        run(pace, machine, 60, decoding=count - 1)
        for place in range(30):
            read = pace.budget(count)
            seconds = machine.step(read, count) + 0.3 * (place == joining)
            pace.note(seconds, read, count)
            assert place == joining or seconds <= machine.decode * (1 + EXTRA) * 1.3


def test_little_is_spent_on_measuring():
    steps = run(Pace(), MACHINES[0], 320, decoding=2)
    assert 10 <= sum(step.read == 0 for step in steps) <= 30
