"""GGUF: continuous batching of every job in one llama_decode per step.

A step's batch holds the last token of every job that decodes, and pieces of the prompts of those that do
not yet. A job whose cells another one needs more urgently steps aside: its state moves to ordinary memory
and back, so no answer is ever lost, or changed, for lack of room.
"""

from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from numpy.typing import NDArray

from inference.errors import RunnerRefused
from inference.request import Activity, Assignment
from inference.runner.engine import Job, Step, Token
from inference.runner.engines.gguf.library import Batch, Context, Model, Shape
from inference.runner.engines.gguf.sampling import Sampler
from inference.runner.engines.gguf.states import Memory, Sequence, cell_bytes
from inference.runner.engines.gguf.threads import quickest
from inference.runner.prefix_cache import Arrays, PrefixCache
from inference.runner.prefix_disk import tier
from inference.runner.tokenizer import Tokenizer

# Jobs that run at once, and sequences for kept prefixes beside theirs. llama.cpp allows 256 together.
LIVE, KEPT = 32, 64
# Recurrent state has its memory set aside for each sequence, used or not.
LIVE_RECURRENT, KEPT_RECURRENT = 16, 16
# Tokens in one step at most, and tokens computed at once.
BATCH, CHUNK = 2048, 512
# Cells beyond one whole context, as multiples of it, at most; they serve many jobs, and kept prefixes.
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
    aside: Arrays = field(default_factory=dict)

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
        self.live, kept = (LIVE, KEPT) if model.divisible else (LIVE_RECURRENT, KEPT_RECURRENT)
        each = cell_bytes(model, min(tokenizer.ends, default=0))
        spare = min(assignment.cache_bytes // each, SPARE * assignment.context)
        shape = Shape(assignment.context + spare, self.live + kept, BATCH, CHUNK)
        self.context = Context(model, shape)
        self.context.use_threads(*quickest(self.context, min(tokenizer.ends, default=0)))
        self.memory = Memory(self.context, each)
        self.batch = Batch(BATCH)
        self.prefixes: PrefixCache[Sequence] = PrefixCache(
            assignment.cache_bytes,
            revive=self.revive,
            disk=tier(assignment, "gguf", "f16", version("llama-cpp-python")),
        )
        # Oldest first.
        self.running: dict[int, Running] = {}

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
        return bool(self.running)

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

    def embed(self, inputs: list[list[int]]) -> list[NDArray[Any]]:
        raise RunnerRefused("This model is not for embeddings.", field="model")

    def rank(self, query: str, documents: list[str]) -> tuple[list[float], int]:
        raise RunnerRefused("This model is not for ranking.", field="model")

    def step(self, budget: int) -> Step:
        self.begin()
        read = self.fill(budget)
        if not read:
            return Step([], [])
        while not self.context.decode(self.batch):
            # The cells are counted, so this is for what llama.cpp may want beyond them.
            if not self.prefixes.evict():
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
        started = sum(other.sequence is not None for other in self.running.values())
        if started >= self.live or not self.has_owner():
            return False
        if one.aside:
            return self.resume(one)
        # Before the search, which may itself take an owner for what comes from the disk.
        one.sequence = self.memory.begin()
        if hit := self.prefixes.find(one.tokens):
            one.sequence.share(hit.state, hit.length)
        one.cached = one.read
        return True

    def resume(self, one: Running) -> bool:
        """Bring back what the model held, once there is room for it and for more."""
        if self.free(one.need) < one.need:
            return False
        one.sequence, one.aside = self.memory.revive(one.aside), {}
        return True

    def revive(self, arrays: Arrays) -> Sequence | None:
        """A kept prefix from the disk; others give way to it, and without room there is none."""
        length = int(arrays["length"][0])
        if not self.has_owner() or self.free(length) < length:
            return None
        return self.memory.revive(arrays)

    def has_owner(self) -> bool:
        while not self.memory.owners:
            if not self.prefixes.evict():
                return False
        return True

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
            if self.free(len(decoding)) >= len(decoding):
                return decoding
            self.step_aside()

    def free(self, wanted: int) -> int:
        """How many cells are free, after giving up kept prefixes for `wanted` of them."""
        while len(self.memory.free) < wanted and self.prefixes.evict():
            pass
        return len(self.memory.free)

    def step_aside(self) -> None:
        """The youngest gives up its cells. One alone never needs to: a whole context has cells."""
        youngest = [one for one in self.running.values() if one.sequence][-1]
        if youngest.sequence:
            youngest.aside = youngest.sequence.dump() if youngest.read else {}
            youngest.sequence.drop()
            youngest.sequence = None

    def shares(self, reading: list[Running], budget: int, *, alone: bool) -> list[tuple[Running, int]]:
        """How many tokens of whose prompt are read now: alike for all, and what one does not need is the
        others'."""
        while reading and not self.free(min(budget, sum(len(one.tokens) - one.read for one in reading))):
            if not alone:
                return []
            self.step_aside()
            reading = [one for one in reading if one.sequence]
        left, found = min(budget, len(self.memory.free)), []
        waiting = sorted(reading, key=lambda one: len(one.tokens) - one.read)
        for place, one in enumerate(waiting):
            count = min(self.stop(one) - one.read, -(-left // (len(waiting) - place)))
            if count:
                found.append((one, count))
            left -= count
        return found

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
        """Keep what the model holds of a prompt where that is worth it: for others that begin alike."""
        worth = one.read in self.checkpoints(one) if not self.model.divisible else one.read == len(one.tokens)
        if worth and one.sequence and self.has_owner():
            self.prefixes.keep(one.tokens[: one.read], one.sequence.fork(one.read))

    def choose(self, one: Running, scores: NDArray[Any]) -> Token:
        choice = one.sampler.choose(scores)
        one.tokens.append(choice.token)
        finish = None
        if choice.token in self.ends:
            finish = "stop"
        elif len(one.tokens) - len(one.job.tokens) >= one.job.max_tokens:
            finish = "length"
        if finish:
            self.keep(self.running.pop(one.job.id))
        return Token(one.job.id, choice.token, finish, one.cached, choice.logprob, choice.top)

    def keep(self, one: Running) -> None:
        """What it has read, for the next."""
        if one.sequence and one.read:
            self.prefixes.keep(one.tokens[: one.read], one.sequence)
        elif one.sequence:
            one.sequence.drop()
