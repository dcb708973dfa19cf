"""Kept prompt prefixes: a prompt that begins like an earlier one is not read twice."""

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from inference.request import Prefixes
from inference.runner.lookups import Difference, Looked, difference
from inference.runner.radix import Radix, Tokens

# How many lookups a report tells of.
LOOKUPS = 64
# What was given up is remembered for so many entries, to say so to who asks for it again.
REMEMBERED = 256

Arrays = dict[str, NDArray[np.generic]]


class State(Protocol):
    """What an engine's model holds after some tokens; used on the model's thread alone."""

    @property
    def nbytes(self) -> int: ...

    @property
    def divisible(self) -> bool:
        """Whether it can be cut back to any shorter length: keys and values can, recurrent state cannot."""

    def dump(self) -> Arrays:
        """All of it, for the disk; cheap, and of no more use to the engine: nothing writes to it later."""

    def drop(self) -> None:
        """The cache lets go of it; called once."""


S = TypeVar("S", bound=State)


class Hit(NamedTuple, Generic[S]):
    """The state stands for the first `length` tokens, cut back if it is longer. It stays the cache's: it may
    be dropped at the next `keep` or `evict`."""

    state: S
    length: int


@dataclass(eq=False, slots=True)
class Kept(Generic[S]):
    tokens: Tokens
    state: S
    nbytes: int


class PrefixCache(Generic[S]):
    """Within `budget` bytes; the least recently used goes first.

    `find`, `keep` and `evict` are for the model's thread, `report` is for any.
    """

    def __init__(
        self, budget: int, *, revive: Callable[[Arrays], S], clock: Callable[[], float] = time.time
    ) -> None:
        self.budget, self.revive = budget, revive
        self.nbytes = 0
        self.lock = Lock()
        self.tree: Radix[Kept[S]] = Radix()
        # Least recently used first.
        self.order: OrderedDict[Kept[S], None] = OrderedDict()
        # Why what was kept, or should have been, is not any more.
        self.gone: Radix[str] = Radix()
        self.remembered: deque[Tokens] = deque()
        # Newest first.
        self.lookups: deque[Looked] = deque(maxlen=LOOKUPS)
        self.clock = clock

    @property
    def entries(self) -> int:
        return len(self.order)

    def find(self, tokens: list[int]) -> Hit[S] | None:
        """What stands for the longest kept beginning of a prompt; at least one token is left to read."""
        asked = np.array(tokens[:-1], np.uint32)
        with self.lock:
            found = self.tree.longest(asked)
            if found:
                self.order.move_to_end(found[0])
            length = found[1] if found else 0
            self.lookups.appendleft(Looked(self.clock(), len(tokens), length, *self.why(asked, length)))
        return Hit(found[0].state, length) if found else None

    def keep(self, tokens: list[int], state: S) -> None:
        """Remember that `state` is what the model holds after `tokens`. It is the cache's from here on."""
        kept = Kept(np.array(tokens, np.uint32), state, state.nbytes)
        with self.lock:
            if not self.wanted(kept):
                state.drop()
                return
            if state.divisible:
                for shorter in self.tree.beginnings(kept.tokens):
                    self.drop(shorter)
            while self.nbytes + kept.nbytes > self.budget:
                self.give_up()
            self.tree.put(kept.tokens, kept, divisible=state.divisible)
            self.order[kept] = None
            self.nbytes += kept.nbytes

    def evict(self) -> bool:
        """Give up the least recently used entry, for an engine that needs the room; whether there was one."""
        with self.lock:
            if self.order:
                self.give_up()
                return True
        return False

    def report(self, id: int, decode: Callable[[list[int]], str]) -> Prefixes:
        with self.lock:
            lookups = list(self.lookups)
            held = (self.entries, self.nbytes, self.budget)
        return Prefixes(id, *held, 0, 0, 0, [lookup.told(decode) for lookup in lookups])

    def wanted(self, new: Kept[S]) -> bool:
        """Whether it fits, and nothing that is kept stands for as much already."""
        if not len(new.tokens):
            return False
        served = self.tree.longest(new.tokens)
        if served and served[1] == len(new.tokens):
            self.order.move_to_end(served[0])
            return False
        if new.nbytes > self.budget:
            size, budget = new.nbytes / 2**20, self.budget / 2**20
            self.remember(new, f"too large to keep: {size:.1f} MiB, and the budget is {budget:.1f} MiB")
            return False
        return True

    def give_up(self) -> None:
        oldest = next(iter(self.order))
        self.remember(oldest, "given up for room")
        self.drop(oldest)

    def drop(self, kept: Kept[S]) -> None:
        del self.order[kept]
        self.tree.pop(kept.tokens)
        self.nbytes -= kept.nbytes
        kept.state.drop()

    def remember(self, kept: Kept[S], reason: str) -> None:
        if len(self.remembered) == REMEMBERED:
            self.gone.pop(self.remembered.popleft())
        if self.gone.pop(kept.tokens) is None:
            self.remembered.append(kept.tokens)
        self.gone.put(kept.tokens, reason, divisible=kept.state.divisible)

    def why(self, asked: Tokens, cached: int) -> tuple[str, Difference | None]:
        """Why no more than `cached` tokens of the prompt are."""
        gone, nearest = self.gone.longest(asked), self.tree.nearest(asked)
        if gone and gone[1] > cached:
            return f"{gone[0]} ({gone[1]} tokens of it were once read)", None
        if nearest is None:
            return "nothing is kept yet", None
        kept, shared = nearest[0].tokens, nearest[1]
        if shared == len(asked) == cached:
            return "all of it is, but for the last token, which is always read", None
        if shared == len(kept) == cached:
            return "all that was kept of it is", None
        cut = ""
        if cached < shared:
            cut = f"the model's state cannot be cut back (kept {len(kept)}, shared {shared})"
        if shared == len(asked):
            return cut, None
        return cut and f"{cut}; ", difference(kept, asked, shared)
