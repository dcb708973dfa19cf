"""Whose the cells of a context are: jobs' sequences, and those that are kept for the prompts to come."""

from array import array

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

    def revive(self, dumped: dict[str, NDArray[np.generic]]) -> "Sequence":
        """The opposite of Sequence.dump. Raises LibraryError without room, or for another model's."""
        length = int(dumped["length"][0])
        if not self.owners or length > len(self.free):
            raise LibraryError("there is no room for what was dumped")
        found = self.begin()
        if not self.context.load(found.owner, dumped["state"].view(np.uint8)):
            found.drop()
            raise LibraryError("what was dumped is not of this model")
        found.extend(length)
        return found


class Sequence:
    """What the model holds of one text; a job writes it, and it is the State that a prefix cache keeps."""

    def __init__(self, memory: Memory, owner: int) -> None:
        self.memory, self.owner = memory, owner
        self.cells = array("i")

    @property
    def length(self) -> int:
        return len(self.cells)

    @property
    def nbytes(self) -> int:
        return len(self.cells) * self.memory.cell_bytes

    @property
    def divisible(self) -> bool:
        return self.memory.context.model.divisible

    def extend(self, count: int) -> None:
        """`count` more tokens were read; there must be cells for them."""
        free = self.memory.free
        taken = free[len(free) - count :]
        del free[len(free) - count :]
        self.memory.holders[np.frombuffer(taken, np.int32)] = 1
        self.cells.extend(taken)

    def fork(self, length: int) -> "Sequence":
        """A sequence that shares the first `length` tokens; there must be an owner left."""
        found = self.memory.begin()
        found.share(self, length)
        return found

    def share(self, other: "Sequence", length: int) -> None:
        """Begin, while empty, as the first `length` tokens of `other`, in the same cells."""
        self.memory.context.copy(other.owner, self.owner, length)
        self.cells = other.cells[:length]
        self.memory.holders[np.frombuffer(self.cells, np.int32)] += 1

    def dump(self) -> dict[str, NDArray[np.generic]]:
        state = self.memory.context.save(self.owner)
        return {"state": state, "length": np.array([self.length], np.int64)}

    def drop(self) -> None:
        """Give back the cells that nobody shares, and the owner."""
        memory = self.memory
        memory.context.forget(self.owner)
        memory.owners.append(self.owner)
        cells = np.frombuffer(self.cells, np.int32)
        memory.holders[cells] -= 1
        memory.free.frombytes(cells[memory.holders[cells] == 0].tobytes())
        self.cells = array("i")


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
