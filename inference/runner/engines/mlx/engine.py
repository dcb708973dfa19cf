"""MLX: the model, and continuous batching of everything that runs on it.

An engine belongs to the thread that made it: MLX's streams are thread-local.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
from mlx_lm.models.cache import make_prompt_cache
from numpy.typing import NDArray

from inference.errors import RunnerRefused
from inference.request import Activity, Assignment
from inference.runner.engine import Job, Step, Token
from inference.runner.engines.mlx import weights
from inference.runner.engines.mlx.batch import ROWS, Batches
from inference.runner.engines.mlx.caches import Apart, LayerCaches, MlxState, always_divisible, mergeable
from inference.runner.engines.mlx.sampling import Choice, Report
from inference.runner.engines.mlx.weights import Weights
from inference.runner.prefix_cache import PrefixCache
from inference.runner.prefix_disk import tier
from inference.runner.radix import common
from inference.runner.tokenizer import Tokenizer

# A prompt that begins with so many tokens of one that decodes now borrows what was read of them.
SHARED = 128


@dataclass
class Sequence:
    """A job inside the batch; `done` counts the tokens of its prompt that are read or were kept."""

    job: Job
    prompt: NDArray[np.uint32]
    cached_tokens: int
    done: int
    decoding: bool = False
    # Whether the prefix cache has its prompt.
    kept: bool = False

    @property
    def left(self) -> int:
        return len(self.job.tokens) - self.done


class MlxEngine:
    """Raises whatever mlx_lm raises for a folder it cannot load."""

    def __init__(self, assignment: Assignment, tokenizer: Tokenizer) -> None:
        self.weights = Weights(Path(assignment.path))
        caches = self.new_caches()
        self.mergeable = all(map(mergeable, caches))
        # Recurrent state and a full sliding window cannot be cut back to where a prompt ended.
        self.divisible = all(map(always_divisible, caches))
        self.generator: Any = Batches(self.weights.model, tokenizer.ends)
        self.sequences: dict[int, Sequence] = {}
        self.uids: dict[int, int] = {}
        self.prefixes: PrefixCache[MlxState] = PrefixCache(
            assignment.cache_bytes,
            revive=MlxState.revive,
            disk=tier(assignment, "mlx", self.weights.dtype, version("mlx-lm"), version("mlx")),
        )
        # What ended sequences held, to be kept when their last tokens are on their way.
        self.left_over: list[tuple[list[int], LayerCaches]] = []

    def new_caches(self) -> LayerCaches:
        made: LayerCaches = make_prompt_cache(self.weights.model)
        return made

    @property
    def activity(self) -> Activity:
        decoding = sum(sequence.decoding for sequence in self.sequences.values())
        return Activity(
            engine="mlx",
            device=weights.device(),
            dtype=self.weights.dtype,
            blas=weights.blas(),
            queued=0,
            prefilling=len(self.sequences) - decoding,
            decoding=decoding,
            memory_bytes=mx.get_active_memory(),
            peak_memory_bytes=mx.get_peak_memory(),
            prefix_cache_bytes=self.prefixes.nbytes,
            prefix_cache_entries=self.prefixes.entries,
        )

    @property
    def busy(self) -> bool:
        return bool(self.sequences or self.left_over)

    def room(self, job: Job) -> bool:
        """Models whose caches cannot be merged serve one job at a time."""
        return len(self.sequences) < (ROWS if self.mergeable else 1)

    def admit(self, job: Job) -> None:
        """Add a sequence; the steps that follow read its prompt."""
        self.keep_left_over()
        prompt = np.array(job.tokens, np.uint32)
        self.share(job, prompt)
        hit = self.prefixes.find(job.tokens)
        cached = hit.length if hit else 0
        choice: Any = Choice(job, self.weights.vocabulary)
        (uid,) = self.generator.insert_segments(
            [segments(job.tokens, cached, [] if self.divisible else job.checkpoints)],
            max_tokens=[job.max_tokens],
            caches=[[Apart(hit.state.cut(cached) if hit else self.new_caches())]],
            all_tokens=[job.tokens[:cached]],
            samplers=[choice],
        )
        self.sequences[uid] = Sequence(job, prompt, cached, cached)
        self.uids[job.id] = uid

    def share(self, job: Job, prompt: NDArray[np.uint32]) -> None:
        """Keep what was read of the prompt that `job` follows, or shares most of its beginning with.

        What cannot be cut back was kept on the way.
        """
        if not self.divisible:
            return
        # By what each could give that was not kept when it came.
        gains = {
            uid: common(one.prompt, prompt) - one.cached_tokens
            for uid, one in self.sequences.items()
            if one.decoding and not one.kept
        }
        best = max(gains, key=gains.__getitem__, default=None)
        if best is not None and (gains[best] >= SHARED or self.sequences[best].job.id == job.after):
            self.keep(best)
            self.sequences[best].kept = True

    def remove(self, id: int) -> None:
        """Forget a job that nobody waits for, if it is there; what it has read is kept for the next."""
        uid = self.uids.pop(id, None)
        if uid is None:
            return
        sequence = self.sequences.pop(uid)
        if sequence.done > sequence.cached_tokens:
            self.keep(uid)
        self.generator.remove([uid])

    def step(self, budget: int) -> Step:
        """One token for everyone who decodes, and pieces of the prompts of those who do not yet."""
        self.keep_left_over()
        self.generator.budget = budget
        prompts, answers = self.generator.next()
        progress = [self.advance(prompt) for prompt in prompts]
        return Step([self.settle(answer) for answer in answers], progress)

    def advance(self, prompt: Any) -> tuple[int, int, int]:
        """How far a prompt is read; what cannot be cut back later is kept at the end of each segment."""
        sequence = self.sequences[prompt.uid]
        sequence.done = sequence.cached_tokens + prompt.progress[0]
        sequence.decoding = prompt.end_of_prompt
        if prompt.end_of_segment and not prompt.end_of_prompt and not self.divisible:
            self.keep(prompt.uid)
        return sequence.job.id, sequence.done, len(sequence.job.tokens)

    def keep(self, uid: int) -> None:
        """Remember what the model holds of a sequence now."""
        with mx.stream(self.generator.stream):
            caches, tokens = self.generator.extract_cache([uid])[uid]
            self.prefixes.keep(tokens, MlxState(caches, len(tokens)))

    def keep_left_over(self) -> None:
        while self.left_over:
            tokens, caches = self.left_over.pop()
            with mx.stream(self.generator.stream):
                self.prefixes.keep(tokens, MlxState(caches, len(tokens)))

    def settle(self, answer: Any) -> Token:
        sequence = self.sequences[answer.uid]
        job = sequence.job
        if answer.finish_reason:
            del self.sequences[answer.uid], self.uids[job.id]
            self.left_over.append((answer.all_tokens, answer.prompt_cache))
        token = Token(job.id, answer.token, answer.finish_reason, sequence.cached_tokens)
        report: Report | None = answer.logprobs
        if report is None:
            return token
        chosen: Any = report.chosen.item()
        return token._replace(logprob=chosen, top=likeliest(report))

    def rest(self) -> None:
        mx.clear_cache()

    def embed(self, inputs: list[list[int]]) -> list[NDArray[np.float32]]:
        raise RunnerRefused(
            "This model chats, and makes no embeddings. Ask an embedding model.", field="model"
        )

    def rank(self, query: str, documents: list[str]) -> tuple[list[float], int]:
        raise RunnerRefused("This model chats, and ranks nothing. Ask an embedding model.", field="model")


def segments(tokens: list[int], cached: int, checkpoints: Iterable[int]) -> list[list[int]]:
    """What is left to read, cut at the checkpoints and before the last token, which decoding begins with:
    with all before it, the same prompt is asked again."""
    last = len(tokens) - 1
    ends = sorted({cached, *(end for end in checkpoints if cached < end < last), last, len(tokens)})
    return [tokens[begin:end] for begin, end in pairwise(ends)]


def likeliest(report: Report) -> list[tuple[int, float]]:
    """The alternatives, likeliest first; what was forbidden is none."""
    tokens: Any = report.tokens.tolist()
    values: Any = report.values.tolist()
    found = [(token, value) for token, value in zip(tokens, values, strict=True) if value > -np.inf]
    return sorted(found, key=lambda pair: -pair[1])
