"""How many prompt tokens a step may read, so that those who decode hardly notice.

A step that reads `n` tokens takes longer than one that only decodes, by some time that depends on the
model, the machine and how long the contexts are. It is measured, never computed; the median, or the least,
of the last few measurements stands for it, which neither a first step that compiles nor a busy moment can
move.
"""

from collections import deque
from statistics import median_low

# Times the decode-only step that reading may add to a step.
EXTRA = 3.0
# Seconds that a step takes at most when nobody decodes: for who comes meanwhile, and may be soon served.
# A machine slower than that reads in steps that cost as much as so many decode steps: in smaller ones it
# would fetch its weights more often than it uses them.
ALONE, ALONE_STEPS = 0.25, 4
LEAST, MOST = 1, 2048
FIRST_ALONE, FIRST_BESIDE = 128, 32
# A step that only decodes comes once in so many, or sooner when others decode than before; then two come,
# for the first one also makes one batch of them all.
MEASURE, MEASURE_CHANGE, AFTER_CHANGE = 16, 3, 2


class Chunk:
    """As many tokens as take a given time; `size` at first, and then what the last ones took decides."""

    def __init__(self, size: int) -> None:
        self.size = size
        # Seconds per token.
        self.costs: deque[float] = deque(maxlen=5)

    def within(self, seconds: float) -> int:
        """Grows slowly, for a larger chunk costs more than the last one tells; shrinks at once."""
        if self.costs:
            fitting = seconds / max(median_low(self.costs), 1e-9)
            self.size = int(max(LEAST, min(fitting, 2 * self.size, MOST)))
        return self.size

    def note(self, seconds: float, tokens: int) -> None:
        """A small rest of a prompt is left out: it costs far more per token."""
        if tokens >= self.size / 2:
            self.costs.append(max(seconds, 0.0) / tokens)


class Pace:
    """Ask for the `budget` of every step, and `note` what it took."""

    def __init__(self) -> None:
        self.alone, self.beside = Chunk(FIRST_ALONE), Chunk(FIRST_BESIDE)
        # Seconds of the last steps that only decoded, and how many sequences did.
        self.decodes: deque[float] = deque(maxlen=5)
        self.decoded = 0
        self.since = 0

    def budget(self, decoding: int) -> int:
        """Prompt tokens for the next step, in which so many sequences decode; 0 to measure only those."""
        if not decoding:
            return self.alone.within(max(ALONE, ALONE_STEPS * self.decode))
        if self.since >= (MEASURE if decoding == self.decoded else MEASURE_CHANGE) or self.unsure:
            return 0
        return self.beside.within(EXTRA * self.decode)

    @property
    def decode(self) -> float:
        """Seconds of a step that only decodes; 0 before there was one."""
        return min(self.decodes, default=0.0)

    @property
    def unsure(self) -> bool:
        """Whether too few steps only decoded since others do."""
        return len(self.decodes) < AFTER_CHANGE

    def note(self, seconds: float, read: int, decoding: int) -> None:
        """A step took so long, read so many prompt tokens, and so many sequences decoded in it."""
        if not decoding:
            self.alone.note(seconds, read)
        elif read:
            self.since += 1
            self.beside.note(seconds - self.decode, read)
        else:
            self.note_decode(seconds, decoding)

    def note_decode(self, seconds: float, decoding: int) -> None:
        if decoding != self.decoded:
            self.decodes.clear()
        self.decodes.append(seconds)
        self.decoded, self.since = decoding, 0
