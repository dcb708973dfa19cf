"""Jobs for an engine in this process, and what it answers."""

from typing import Any

from inference.request import Sampling
from inference.runner.engine import Engine, Job, Token


def prompt(seed: int, length: int) -> list[int]:
    """Tokens that no other seed begins with."""
    return [100 + (97 * seed + 31 * place) % 3900 for place in range(length)]


def job(id: int, tokens: list[int], max_tokens: int = 8, **fields: Any) -> Job:
    sampling = fields.pop("sampling", Sampling(temperature=0))
    return Job(id, tokens, max_tokens, sampling, **fields)


def finish(engine: Engine, budget: int = 512) -> dict[int, list[Token]]:
    """Every token of every job that is in `engine`, until it has nothing to do."""
    found: dict[int, list[Token]] = {}
    while engine.busy:
        for token in engine.step(budget).tokens:
            found.setdefault(token.id, []).append(token)
    return found


def answer(engine: Engine, *jobs: Job, budget: int = 512) -> dict[int, list[int]]:
    """The tokens of each job; all of them are admitted at once."""
    for one in jobs:
        engine.admit(one)
    return {id: [token.token for token in tokens] for id, tokens in finish(engine, budget).items()}
