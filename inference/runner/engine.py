"""What an engine is: a model in memory that continues many prompts at once, one step at a time.

`engines/mlx` and `engines/gguf` are the two there are. All of an engine is used on the one thread that
made it, but for its tokenizer.
"""

from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from inference.request import Activity, Sampling
from inference.runner.prefix_cache import PrefixCache


class Constraint(Protocol):
    """Which tokens may come next in one answer. Never raises; belongs to the model's thread."""

    def mask(self) -> NDArray[np.uint32] | None:
        """One bit per token, lowest bit first, set where it may come; None when all may. Of this answer's
        vocabulary rounded up to 32; good until the next `accept`."""

    def accept(self, token: int) -> None:
        """`token` was chosen."""

    @property
    def failed(self) -> bool:
        """Whether it could hold the answer no longer, and let it end where it was."""


class Job(msgspec.Struct, frozen=True):
    """One answer to generate: the prompt's tokens, how to choose the next ones, and how many at most."""

    id: int
    tokens: list[int]
    max_tokens: int
    sampling: Sampling
    # Lengths of the prompt, in order, at which what the model holds is worth keeping: see prompts.py.
    checkpoints: list[int] = []
    # How many alternatives to report with each token; None reports nothing.
    logprobs: int | None = None
    constraint: Any = None  # a Constraint or None
    # Fairness: who asks, how urgent, and the job whose prompt is this one's too and must be read first.
    client: str = ""
    priority: str = "interactive"
    after: int | None = None


class Token(NamedTuple):
    """A generated token; `finish` is "stop" (and this is the end token), "length" or None."""

    id: int
    token: int
    finish: str | None
    cached_tokens: int
    logprob: float = 0.0
    # (token, log-probability), likeliest first.
    top: list[tuple[int, float]] = []


class Step(NamedTuple):
    """What one step brought: tokens, and how far the prompts being read are, as (job, done, total)."""

    tokens: list[Token]
    progress: list[tuple[int, int, int]]


class Engine(Protocol):
    """Raises whatever its library raises; the runner does not survive that, and the pool starts another."""

    prefixes: PrefixCache[Any]
    # Whether what it holds of a prompt can be cut back to any shorter length; if not, jobs bring checkpoints.
    divisible: bool

    @property
    def busy(self) -> bool:
        """Whether a step would do anything."""

    @property
    def activity(self) -> Activity: ...

    def room(self, job: Job) -> bool:
        """Whether `job` can be admitted now."""

    def admit(self, job: Job) -> None:
        """Add a sequence; the steps that follow read its prompt and then continue it."""

    def remove(self, id: int) -> None:
        """Forget a job that nobody waits for, if it is there; what it has read is kept for the next."""

    def step(self, budget: int) -> Step:
        """One token for every job that decodes, and at most about `budget` prompt tokens, of all together,
        for those that do not yet."""

    def rest(self) -> None:
        """Nobody asks anything: give back memory that is kept for speed alone."""

    def embed(self, inputs: list[list[int]]) -> list[NDArray[np.float32]]:
        """One vector of length 1 per input. Raises RunnerRefused when the model is not for that."""

    def rank(self, query: str, documents: list[str]) -> tuple[list[float], int]:
        """Relevance from 0 to 1 per document, and the tokens read. Raises RunnerRefused."""
