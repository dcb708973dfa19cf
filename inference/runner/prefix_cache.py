"""Kept prompt prefixes: a prompt that begins like an earlier one is not read twice."""

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np

from inference.request import Prefixes
from inference.runner.lookups import Difference, Looked, difference
from inference.runner.prefix_disk import LEAST, DiskTier, Saved
from inference.runner.prefix_disk import Arrays as Arrays
from inference.runner.radix import Radix, Tokens

# How many lookups a report tells of.
LOOKUPS = 64
LENT = "a running answer lends what it has read"
# What was given up is remembered for so many entries, to say so to who asks for it again.
REMEMBERED = 256


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
    # Whether it was given to the disk, or came from there.
    saved: bool = False


class PrefixCache(Generic[S]):
    """Within `budget` bytes; the least recently used goes first, to the disk if there is one.

    The disk gets an entry when the model has nothing to do or is unloaded (`save`), or memory no room. It is
    read before a job is queued (`fetch`): the model's thread never waits for it. `find`, `keep`, `evict` and
    `save` are for that thread, the rest for any.

    `revive` makes a state of what `State.dump` returned: None when the engine has no room for it now. It may
    call `evict`, and raise anything for arrays that it cannot use.
    """

    def __init__(
        self,
        budget: int,
        *,
        revive: Callable[[Arrays], S | None],
        disk: DiskTier | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.budget, self.revive, self.disk, self.clock = budget, revive, disk, clock
        self.nbytes = 0
        self.lock = Lock()
        self.tree: Radix[Kept[S]] = Radix()
        # Least recently used first.
        self.order: OrderedDict[Kept[S], None] = OrderedDict()
        # Read from the disk, and waiting for the model's thread; of no more bytes than the budget.
        self.fetched: dict[Saved, Arrays] = {}
        # Why what was kept, or should have been, is not any more.
        self.gone: Radix[str] = Radix()
        self.remembered: deque[Tokens] = deque()
        # Newest first.
        self.lookups: deque[Looked] = deque(maxlen=LOOKUPS)

    @property
    def entries(self) -> int:
        return len(self.order)

    def fetch(self, tokens: list[int]) -> None:
        """Read the beginning of a prompt from the disk, where that holds more of it than memory does."""
        if self.disk is None or (found := self.disk.find(asked := np.array(tokens[:-1], np.uint32))) is None:
            return
        saved, length = found
        with self.lock:
            kept = self.tree.longest(asked)
            waiting = sum(each.nbytes for each in self.fetched)
            known = saved in self.fetched or length < (kept[1] if kept else 0) + LEAST
        if not known and saved.nbytes + waiting <= self.budget and (arrays := self.disk.read(saved)):
            with self.lock:
                self.fetched[saved] = arrays

    def find(self, tokens: list[int], lent: int = 0) -> Hit[S] | None:
        """What stands for the longest kept beginning of a prompt; at least one token is left to read.

        So many tokens a running job lends: only what is longer helps.
        """
        self.take_fetched()
        asked = np.array(tokens[:-1], np.uint32)
        with self.lock:
            found = self.tree.longest(asked)
            if found:
                self.order.move_to_end(found[0])
            length = found[1] if found else 0
            why = (LENT, None) if lent > length else self.why(asked, length)
            self.lookups.appendleft(Looked(self.clock(), len(tokens), max(length, lent), *why))
        return Hit(found[0].state, length) if found and length > lent else None

    def keep(self, tokens: list[int], state: S) -> None:
        """Remember that `state` is what the model holds after `tokens`. It is the cache's from here on."""
        self.put(Kept(np.array(tokens, np.uint32), state, state.nbytes))

    def save(self) -> bool:
        """Give one entry to the disk, the one used last first; whether there are more to give."""
        with self.lock:
            unsaved = [kept for kept in reversed(self.order) if self.worth_saving(kept)]
            if unsaved:
                self.offer(unsaved.pop(0))
            return bool(unsaved)

    def flush(self) -> None:
        """Wait until the disk has what it was given."""
        if self.disk:
            self.disk.flush()

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
        on_disk = (self.disk.entries, self.disk.nbytes, self.disk.budget) if self.disk else (0, 0, 0)
        return Prefixes(id, *held, *on_disk, [lookup.told(decode) for lookup in lookups])

    def put(self, kept: Kept[S]) -> None:
        with self.lock:
            if not self.wanted(kept):
                kept.state.drop()
                return
            divisible = kept.state.divisible
            for shorter in self.tree.beginnings(kept.tokens) if divisible else ():
                self.drop(shorter)
            while self.nbytes + kept.nbytes > self.budget:
                self.give_up()
            self.tree.put(kept.tokens, kept, divisible=divisible)
            self.order[kept] = None
            self.nbytes += kept.nbytes

    def take_fetched(self) -> None:
        """Make entries of what came from the disk."""
        with self.lock:
            fetched, self.fetched = self.fetched, {}
        for saved, arrays in fetched.items():
            try:
                state = self.revive(arrays)
            except Exception as error:  # a library's own format: the prompt is read anew, as without the file
                if self.disk:
                    self.disk.discard(saved, error)
                continue
            if state is not None:
                self.put(Kept(saved.tokens, state, state.nbytes, saved=True))

    def worth_saving(self, kept: Kept[S]) -> bool:
        return self.disk is not None and not kept.saved and len(kept.tokens) >= LEAST

    def offer(self, kept: Kept[S]) -> None:
        """To the disk, unless that is behind: then the entry stays unsaved, and may be offered again."""
        if self.disk and not self.disk.full:
            self.disk.offer(kept.tokens, kept.state.divisible, kept.state.dump())
            kept.saved = True

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
        if self.worth_saving(oldest):
            self.offer(oldest)
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
