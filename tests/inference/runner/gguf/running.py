"""Jobs through an engine, to their ends."""

import random
from typing import Any

from inference.request import Sampling
from inference.runner.engine import Engine, Job, Token

GREEDY = Sampling(temperature=0)


def prompt(seed: int, length: int = 24) -> list[int]:
    dice = random.Random(seed)
    return [dice.randrange(300, 4000) for _ in range(length)]


def job(id: int, tokens: list[int], max_tokens: int = 16, sampling: Sampling = GREEDY, **more: Any) -> Job:
    return Job(id, tokens, max_tokens, sampling, **more)


def run(engine: Engine, *jobs: Job, budget: int = 512) -> dict[int, list[Token]]:
    """What came for each job, all of them together."""
    for one in jobs:
        engine.admit(one)
    return drain(engine, budget)


def drain(engine: Engine, budget: int = 512) -> dict[int, list[Token]]:
    found: dict[int, list[Token]] = {}
    for _ in range(5000):
        if not engine.busy:
            return found
        for token in engine.step(budget).tokens:
            found.setdefault(token.id, []).append(token)
    raise AssertionError("the engine makes no progress")


def ids(tokens: list[Token]) -> list[int]:
    return [token.token for token in tokens]


def said(engine: Engine, one: Job, **more: Any) -> list[int]:
    """The tokens of one job alone."""
    return ids(run(engine, one, **more)[one.id])
