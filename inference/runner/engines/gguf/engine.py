"""GGUF: continuous batching of every job in one llama_decode per step.

A step's batch holds the last token of every job that decodes, and pieces of the prompts of those that do
not yet. A job whose cells another one needs more urgently steps aside: its state moves to ordinary memory
and back, so no answer is ever lost, or changed, for lack of room.
"""

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.errors import RunnerRefused
from inference.request import Activity, Assignment
from inference.runner.engine import Job, Step, Token
from inference.runner.engines.gguf.library import Batch, Context, Model, Shape
from inference.runner.engines.gguf.sampling import Sampler
from inference.runner.engines.gguf.states import Memory, Saved, Sequence, cell_bytes
from inference.runner.engines.gguf.threads import Threads
from inference.runner.prefix_cache import Arrays, PrefixCache
from inference.runner.prefix_disk import tier
from inference.runner.radix import common
from inference.runner.tokenizer import Tokenizer
from inference.runner.turns import Turns

# Jobs that run at once. Recurrent state has its memory set aside for each, used or not.
LIVE, LIVE_RECURRENT = 32, 16
# Tokens in one step at most, and tokens computed at once.
BATCH, CHUNK = 2048, 512
# Without a GPU fewer at once are no slower, and llama.cpp's room for scores, which grows with them and with
# what is remembered, is a quarter (measured: 9M to 57M parameters, 1,500 to 6,000 tokens).
CHUNK_ON_CPU = 128
# Cells beyond one whole context, as multiples of it, at most.
SPARE = 3
# Tokens of an answer that a job is sure to have room for when it begins; beyond, it may step aside.
AHEAD = 256


@dataclass
class Running:
    """A job under way: its text so far, and what of it the model holds."""

    job: Job
    sampler: Sampler
    tokens: list[int]
    sequence: Sequence | None = None
    cached: int = 0
    # What the model held when it stepped aside.
    aside: Saved | None = None

    @property
    def read(self) -> int:
        return self.sequence.length if self.sequence else 0

    @property
    def decoding(self) -> bool:
        return len(self.tokens) > len(self.job.tokens)

    @property
    def need(self) -> int:
        """Cells that it is sure to be given."""
        return len(self.tokens) + min(len(self.job.tokens) + self.job.max_tokens - len(self.tokens), AHEAD)


class GgufEngine:
    """Raises LibraryError when llama.cpp has no room for the context, or fails in a step."""

    def __init__(self, assignment: Assignment, model: Model, tokenizer: Tokenizer) -> None:
        self.model, self.ends = model, tokenizer.ends
        self.divisible: bool = model.divisible
        self.live = LIVE if model.divisible else LIVE_RECURRENT
        each = cell_bytes(model, min(tokenizer.ends, default=0))
        spare = min(assignment.cache_bytes // each, SPARE * assignment.context)
        chunk = CHUNK_ON_CPU if model.device == "cpu" else CHUNK
        shape = Shape(assignment.context + spare, self.live, BATCH, chunk)
        self.context = Context(model, shape)
        self.threads = Threads(self.context, min(tokenizer.ends, default=0))
        self.memory = Memory(self.context, each)
        self.batch, self.turns = Batch(BATCH), Turns()
        self.prefixes: PrefixCache[Saved] = PrefixCache(
            assignment.cache_bytes,
            revive=self.revive,
            disk=tier(assignment, "gguf", "f16", version("llama-cpp-python")),
        )
        # Oldest first.
        self.running: dict[int, Running] = {}
        # Whose last token is on its way, and what they have read is yet to be kept.
        self.ended: list[Running] = []

    @property
    def activity(self) -> Activity:
        started = [one for one in self.running.values() if one.sequence]
        decoding = sum(one.decoding for one in started)
        # All of it is set aside at the load.
        held = self.model.nbytes + self.context.shape.cells * self.memory.cell_bytes
        return Activity(
            engine="gguf",
            device=self.model.device,
            dtype=self.model.dtype,
            blas="ggml" if self.model.device == "cpu" else "none",
            queued=len(self.running) - len(started),
            prefilling=len(started) - decoding,
            decoding=decoding,
            memory_bytes=held,
            peak_memory_bytes=held,
            prefix_cache_bytes=self.prefixes.nbytes,
            prefix_cache_entries=self.prefixes.entries,
        )

    @property
    def busy(self) -> bool:
        return bool(self.running or self.ended)

    def room(self, job: Job) -> bool:
        """Whether it could begin at once, and would find its prompt's cells and some for its answer."""
        if not self.running:
            return True
        wanted = Running(job, Sampler(job, 0), job.tokens).need
        needed = sum(one.need for one in self.running.values()) + wanted
        return len(self.running) < self.live and needed <= self.context.shape.cells

    def admit(self, job: Job) -> None:
        self.running[job.id] = Running(job, Sampler(job, self.model.size), list(job.tokens))

    def remove(self, id: int) -> None:
        if found := self.running.pop(id, None):
            self.keep(found)

    def rest(self) -> None:
        """All of llama.cpp's memory was set aside at the load."""

    def embed(self, inputs: list[list[int]]) -> list[NDArray[Any]]:
        raise RunnerRefused("This model is not for embeddings.", field="model")

    def rank(self, query: str, documents: list[str]) -> tuple[list[float], int]:
        raise RunnerRefused("This model is not for ranking.", field="model")

    def step(self, budget: int) -> Step:
        while self.ended:
            self.keep(self.ended.pop())
        self.begin()
        read = self.fill(budget)
        if not read:
            return Step([], [])
        self.threads.suit(len(self.batch))
        if not self.context.decode(self.batch):
            raise MemoryError("llama.cpp finds no cells for a batch that has them by our count")
        return self.settle(read)

    # ── Before llama.cpp computes ───────────────────────────────────────────────────────────────────

    def begin(self) -> None:
        """Give a sequence to every job that waits for one, oldest first, as far as there are any."""
        for one in self.running.values():
            if one.sequence is None and not self.follows(one) and not self.start(one):
                return

    def follows(self, one: Running) -> bool:
        """Whether its prompt is another job's too, which is still being read."""
        first = None if one.job.after is None else self.running.get(one.job.after)
        return first is not None and not first.decoding

    def start(self, one: Running) -> bool:
        if not self.memory.owners:
            return False
        if one.aside:
            return self.resume(one, one.aside)
        lender, lent = self.lender(one)
        hit = self.prefixes.find(one.tokens, lent)
        one.sequence = self.memory.begin()
        if hit and hit.state.length <= len(self.memory.free):
            one.sequence.load(hit.state, hit.length)
        elif lender and lender.sequence:
            one.sequence.share(lender.sequence, lent)
        one.cached = one.read
        return True

    def lender(self, one: Running) -> tuple[Running | None, int]:
        """Who has read most of the beginning of this prompt, and how much; the last token is left to read."""
        if not self.model.divisible:
            return None, 0
        asked = np.array(one.tokens[:-1], np.uint32)
        lengths = {
            id: common(np.array(other.tokens[: other.read], np.uint32), asked)
            for id, other in self.running.items()
            if other.sequence
        }
        best = max(lengths, key=lengths.__getitem__, default=None)
        return (self.running[best], lengths[best]) if best is not None else (None, 0)

    def resume(self, one: Running, saved: Saved) -> bool:
        """Bring back what the model held, once there is room for it and for more."""
        if len(self.memory.free) < one.need:
            return False
        one.sequence, one.aside = self.memory.begin(), None
        one.sequence.load(saved, saved.length)
        return True

    def revive(self, arrays: Arrays) -> Saved:
        """A kept prefix from the disk."""
        return Saved(arrays["state"].view(np.uint8), int(arrays["length"][0]), self.model.divisible)

    def fill(self, budget: int) -> list[tuple[Running, bool]]:
        """Put this step's tokens into the batch: whose they are, and whether the next token comes of them."""
        self.batch.clear()
        decoding = self.make_room()
        for one in decoding:
            self.add(one, 1)
        left = min(budget, BATCH - len(self.batch))
        reading = [one for one in self.running.values() if one.sequence and not one.decoding]
        shares = self.shares(reading, left, alone=not decoding)
        for one, count in shares:
            self.add(one, count)
        return [(one, one.read == len(one.tokens)) for one in [*decoding, *(one for one, _ in shares)]]

    def make_room(self) -> list[Running]:
        """Those who decode, with a free cell for each."""
        while True:
            decoding = [one for one in self.running.values() if one.sequence and one.decoding]
            if len(self.memory.free) >= len(decoding):
                return decoding
            self.step_aside()

    def step_aside(self) -> None:
        """The youngest gives up its cells. One alone never needs to: a whole context has cells."""
        youngest = [one for one in self.running.values() if one.sequence][-1]
        if youngest.sequence:
            youngest.aside = youngest.sequence.save() if youngest.read else None
            youngest.sequence.drop()
            youngest.sequence = None

    def shares(self, reading: list[Running], budget: int, *, alone: bool) -> list[tuple[Running, int]]:
        """How many tokens of whose prompt are read now, as far as there are cells for them."""
        while reading and budget and not self.memory.free:
            if not alone:
                return []
            self.step_aside()
            reading = [one for one in reading if one.sequence]
        waiting = [(len(one.tokens) - one.read, self.stop(one) - one.read) for one in reading]
        counts = self.turns.shares(waiting, min(budget, len(self.memory.free)))
        return [(one, count) for one, count in zip(reading, counts, strict=True) if count]

    def stop(self, one: Running) -> int:
        """How far its prompt may be read in one piece."""
        if self.model.divisible:
            return len(one.tokens)
        return next(place for place in self.checkpoints(one) if place > one.read)

    def checkpoints(self, one: Running) -> list[int]:
        """The last but one token is where the same prompt, asked again, goes on from."""
        end = len(one.job.tokens)
        return sorted({*(place for place in one.job.checkpoints if place < end), max(end - 1, 1), end})

    def add(self, one: Running, count: int) -> None:
        if one.sequence is None:
            return
        begin, end = one.read, one.read + count
        last = end == len(one.tokens)
        self.batch.add(one.sequence.owner, one.tokens[begin:end], begin, scored=last)
        one.sequence.extend(count)

    # ── Afterwards ──────────────────────────────────────────────────────────────────────────────────

    def settle(self, read: list[tuple[Running, bool]]) -> Step:
        scores = iter(self.context.scores(sum(scored for _, scored in read)))
        tokens: list[Token] = []
        progress: list[tuple[int, int, int]] = []
        for one, scored in read:
            if not one.decoding:
                self.check(one)
            if scored:
                tokens.append(self.choose(one, next(scores)))
            else:
                progress.append((one.job.id, one.read, len(one.tokens)))
        return Step(tokens, progress)

    def check(self, one: Running) -> None:
        """Keep what the model holds of a prompt where it can be used again; what can be cut back is kept at
        the end of the answer, and lent before."""
        if not self.model.divisible and one.sequence and one.read in self.checkpoints(one):
            self.prefixes.keep(one.tokens[: one.read], one.sequence.save())

    def choose(self, one: Running, scores: NDArray[Any]) -> Token:
        choice = one.sampler.choose(scores)
        one.tokens.append(choice.token)
        finish = None
        if choice.token in self.ends:
            finish = "stop"
        elif len(one.tokens) - len(one.job.tokens) >= one.job.max_tokens:
            finish = "length"
        if finish:
            self.ended.append(self.running.pop(one.job.id))
        return Token(one.job.id, choice.token, finish, one.cached, choice.logprob, choice.top)

    def keep(self, one: Running) -> None:
        """What it has read, for the next."""
        if one.sequence is None:
            return
        if one.read:
            self.prefixes.keep(one.tokens[: one.read], one.sequence.save())
        one.sequence.drop()
