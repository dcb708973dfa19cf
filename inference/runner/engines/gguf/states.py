"""Which job holds which cells of a context, and what is kept of a text for the prompts to come."""

from array import array
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.runner.engines.gguf.library import Batch, Context, LibraryError, Model, Shape


class Memory:
    """Counts what llama.cpp does not tell: how many cells are free, and which sequences share one."""

    def __init__(self, context: Context, cell_bytes: int) -> None:
        self.context, self.cell_bytes = context, cell_bytes
        self.owners = list(range(context.shape.sequences))
        # Cells by numbers of our own: llama.cpp puts a token anywhere, so only how many there are counts.
        self.free = array("i", range(context.shape.cells))
        self.holders = np.zeros(context.shape.cells, np.int16)

    def begin(self) -> "Sequence":
        """An empty sequence; there must be an owner left."""
        return Sequence(self, self.owners.pop())


@dataclass(frozen=True)
class Saved:
    """What the model held of a text, in ordinary memory. There it costs nothing until it is used: cells
    that nobody continues are looked at by every step, for all sequences share one row of them."""

    state: NDArray[np.uint8]
    length: int
    divisible: bool

    @property
    def nbytes(self) -> int:
        return self.state.nbytes

    def dump(self) -> dict[str, NDArray[np.generic]]:
        return {"state": self.state, "length": np.array([self.length], np.int64)}

    def drop(self) -> None:
        """Python's own memory."""


class Sequence:
    """What the model holds of one job's text."""

    def __init__(self, memory: Memory, owner: int) -> None:
        self.memory, self.owner = memory, owner
        self.cells = array("i")

    @property
    def length(self) -> int:
        return len(self.cells)

    def extend(self, count: int) -> None:
        """`count` more tokens were read; there must be cells for them."""
        free = self.memory.free
        taken = free[len(free) - count :]
        del free[len(free) - count :]
        self.memory.holders[np.frombuffer(taken, np.int32)] = 1
        self.cells.extend(taken)

    def share(self, other: "Sequence", length: int) -> None:
        """Begin, while empty, as the first `length` tokens of `other`, in the same cells."""
        self.memory.context.copy(other.owner, self.owner, length)
        self.cells = other.cells[:length]
        self.memory.holders[np.frombuffer(self.cells, np.int32)] += 1

    def save(self) -> Saved:
        context = self.memory.context
        return Saved(context.save(self.owner), self.length, context.model.divisible)

    def load(self, saved: Saved, length: int) -> None:
        """Begin, while empty, as the first `length` tokens of what was saved, for all of which there must be
        cells. Raises LibraryError for what another model held."""
        if not self.memory.context.load(self.owner, saved.state):
            raise LibraryError("what was saved is not of this model")
        self.extend(saved.length)
        self.cut(length)

    def cut(self, length: int) -> None:
        """Back to the first `length` tokens."""
        if length < self.length:
            self.memory.context.forget(self.owner, length)
            self.give_back(self.cells[length:])
            self.cells = self.cells[:length]

    def drop(self) -> None:
        """Give back the owner, and the cells that nobody shares."""
        self.memory.context.forget(self.owner)
        self.memory.owners.append(self.owner)
        self.give_back(self.cells)
        self.cells = array("i")

    def give_back(self, given: "array[int]") -> None:
        holders = self.memory.holders
        cells = np.frombuffer(given, np.int32)
        holders[cells] -= 1
        self.memory.free.frombytes(cells[holders[cells] == 0].tobytes())


def cell_bytes(model: Model, token: int) -> int:
    """Bytes that one token takes in memory: what a sequence of nine takes beyond one of one.

    It also computes once before anyone waits for it, with all the weights. Raises LibraryError for encoders.
    """
    context = Context(model, Shape(cells=256, sequences=1, batch=16, chunk=16))
    if not context.memory:
        raise LibraryError("the model encodes text and does not continue it, so it cannot generate")
    batch, sizes = Batch(16), []
    for start, count in ((0, 1), (1, 8)):
        batch.clear()
        batch.add(0, [token] * count, start, scored=True)
        context.decode(batch)
        sizes.append(len(context.save(0)))
    context.close()
    return max((sizes[1] - sizes[0]) // 8, 1)
