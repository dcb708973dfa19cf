"""Kept prompt prefixes on disk: what memory has no room for, and what a restart would lose.

One safetensors file per entry, in `<folder>/<key>/`; the key names everything that an entry depends on, so
nothing wrong is ever read back. Files appear whole or not at all, carry a checksum, and are named after
their tokens: two processes may share a folder. Whatever the disk does, the worst is a miss.
"""

import logging
import os
import time
import zlib
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from queue import Full, Queue
from threading import Lock, Thread
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from inference.request import Assignment
from inference.runner.radix import Radix, Tokens
from opta.paths import private

log = logging.getLogger(__name__)

# Fewer tokens than this are read again sooner than a file is.
LEAST = 64
# Entries that wait for the writer; more are dropped, for each holds memory.
WAITING = 2
# Entries on disk: each takes some 5 KB of memory to find it by, and every write looks at all of them.
MOST = 1024
# Nanoseconds within which a folder may change twice and show one time of change.
TICK = 100_000_000
# Part of every key: raise it when the files change.
FORMAT = "1"
# Bytes of a file's header for each of its arrays, at most.
HEADER = 256
SUFFIX = ".safetensors"
# The name of the tokens among an entry's arrays.
TOKENS = "tokens"

Arrays = dict[str, NDArray[np.generic]]


class Broken(ValueError):
    """A file that is no entry, or not whole."""


# The last two are of arrays whose type numpy does not know.
UNUSABLE = (OSError, SafetensorError, Broken, TypeError, AttributeError)


@dataclass(frozen=True, eq=False)
class Saved:
    """An entry on disk."""

    file: Path
    tokens: Tokens
    divisible: bool
    nbytes: int


class Offer(NamedTuple):
    tokens: Tokens
    divisible: bool
    arrays: Arrays


class DiskTier:
    """The entries of one key. `budget` is in bytes and, as MOST is, of all keys in `folder` together; the
    files used longest ago go first. Every method may be called on any thread; only `offer` never waits for
    the disk."""

    def __init__(self, folder: Path, key: str, budget: int) -> None:
        self.all, self.folder, self.budget = folder, folder / key, budget
        self.lock = Lock()
        self.tree: Radix[Saved] = Radix()
        self.saved: dict[str, Saved] = {}
        # Files that could not be read, nor removed.
        self.ignored: set[str] = set()
        # The folder's time of change when it was last looked at; 0 to look again.
        self.looked = 0
        # A disk that is full stays so for a while, and one line says so.
        self.complained = False
        self.offers: Queue[Offer] = Queue(WAITING)
        Thread(target=self.write_behind, name="prefixes", daemon=True).start()

    @property
    def full(self) -> bool:
        """Whether an offer would be dropped now."""
        return self.offers.full()

    @property
    def entries(self) -> int:
        return len(self.saved)

    @property
    def nbytes(self) -> int:
        return sum(saved.nbytes for saved in list(self.saved.values()))

    def offer(self, tokens: Tokens, divisible: bool, arrays: Arrays) -> None:
        """Write an entry soon, unless too many wait already."""
        with suppress(Full):
            self.offers.put_nowait(Offer(tokens, divisible, arrays))

    def find(self, asked: Tokens) -> tuple[Saved, int] | None:
        """The entry that stands for the longest beginning of `asked`, and how long that is."""
        with self.lock:
            self.look()
            return self.tree.longest(asked)

    def read(self, saved: Saved) -> Arrays | None:
        """The arrays of an entry; None when it is gone, or was not whole, and is gone now."""
        try:
            arrays = load(saved.file)
        except FileNotFoundError:
            self.forget(saved)
        except UNUSABLE as error:
            self.discard(saved, error)
        else:
            with suppress(OSError):  # a folder that may only be read serves all the same
                os.utime(saved.file)
            return arrays
        return None

    def discard(self, saved: Saved, error: Exception) -> None:
        """Remove an entry that cannot be used, and say why."""
        self.forget(saved)
        self.remove_broken(saved.file, error)

    def flush(self) -> None:
        """Wait until everything offered so far is written or given up."""
        self.offers.join()

    def write_behind(self) -> None:
        while True:
            offer = self.offers.get()
            try:
                self.write(offer)
                self.complained = False
            except Exception as error:  # whatever one entry raises, the next may be written
                if not self.complained:
                    log.warning("A prompt prefix was not written to %s: %s", self.folder, error)
                self.complained = True
            finally:
                del offer  # or its arrays stay until the next one comes
                self.offers.task_done()

    def write(self, offer: Offer) -> None:
        with self.lock:
            self.look()
            served = self.tree.longest(offer.tokens)
            shorter = self.tree.beginnings(offer.tokens) if offer.divisible else []
        if served and served[1] == len(offer.tokens):
            with suppress(FileNotFoundError):
                os.utime(served[0].file)
            return
        size = (
            offer.tokens.nbytes + sum(array.nbytes + HEADER for array in offer.arrays.values()) + 2 * HEADER
        )
        if size > self.budget:
            return
        self.make_room(size)
        file = private(self.folder) / (name(offer.tokens) + SUFFIX)
        save(file, offer)
        for old in shorter:
            self.forget(old)
            old.file.unlink(missing_ok=True)
        with self.lock:
            self.look()

    def make_room(self, size: int) -> None:
        """Remove files of any key, those used longest ago first, until one more of `size` bytes fits."""
        files = sorted(stats(self.all), key=lambda one: one[1].st_mtime_ns)
        held = sum(stat.st_size for _, stat in files)
        for left, (file, stat) in zip(range(len(files), 0, -1), files, strict=True):
            if left < MOST and held + size <= self.budget:
                return
            file.unlink(missing_ok=True)
            held -= stat.st_size

    def look(self) -> None:
        """Follow what happened in the folder, be it by this process or by others."""
        try:
            changed = self.folder.stat().st_mtime_ns
            if changed == self.looked:
                return
            names = {entry.name for entry in os.scandir(self.folder) if entry.name.endswith(SUFFIX)}
        except OSError:
            changed, names = 0, set()
        self.looked = changed if time.time_ns() - changed > TICK else 0
        for gone in self.saved.keys() - names:
            self.tree.pop(self.saved.pop(gone).tokens)
        for new in names - self.saved.keys() - self.ignored:
            self.learn(self.folder / new)

    def learn(self, file: Path) -> None:
        try:
            saved = head(file)
        except FileNotFoundError:
            pass  # another process was faster
        except UNUSABLE as error:
            self.remove_broken(file, error)
        else:
            self.tree.put(saved.tokens, saved, divisible=saved.divisible)
            self.saved[file.name] = saved

    def forget(self, saved: Saved) -> None:
        with self.lock:
            if self.saved.pop(saved.file.name, None):
                self.tree.pop(saved.tokens)

    def remove_broken(self, file: Path, error: Exception) -> None:
        log.warning("%s cannot be used as a kept prompt prefix, and is removed: %s", file, error)
        try:
            file.unlink(missing_ok=True)
        except OSError:
            self.ignored.add(file.name)


def tier(assignment: Assignment, *facts: str) -> DiskTier | None:
    """Where a model's prefixes go, when they go to disk at all. `facts` are what they depend on besides the
    model's files: its template, adapter, the type of its keys and values, the versions of what made them."""
    if not assignment.disk or not assignment.disk_bytes:
        return None
    return DiskTier(Path(assignment.disk), key(Path(assignment.path), *facts), assignment.disk_bytes)


def key(model: Path, *facts: str) -> str:
    """Changes with the model's files (their names, sizes and times) and with every fact."""
    files = sorted(model.iterdir()) if model.is_dir() else [model]
    made = [
        f"{file.name} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files if file.is_file()
    ]
    return blake2b("\0".join([FORMAT, *facts, *made]).encode(), digest_size=16).hexdigest()


def name(tokens: Tokens) -> str:
    return blake2b(tokens.tobytes(), digest_size=16).hexdigest()


def stats(folder: Path) -> list[tuple[Path, os.stat_result]]:
    """Every file of every key, unfinished ones too; another process may remove one meanwhile."""
    found = []
    for file in folder.glob("*/*"):
        with suppress(FileNotFoundError):
            found.append((file, file.stat()))
    return found


def save(file: Path, offer: Offer) -> None:
    """The file is there when it is whole. Raises OSError, SafetensorError."""
    arrays = {name: np.asarray(array, order="C") for name, array in offer.arrays.items()}
    arrays[TOKENS] = offer.tokens
    facts = {"divisible": str(int(offer.divisible)), "checksum": str(checksum(arrays))}
    unfinished = file.with_name(f"{file.stem}.{os.getpid()}.unfinished")
    try:
        save_file(arrays, unfinished, facts)
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)


def load(file: Path) -> Arrays:
    """Raises OSError, SafetensorError, Broken."""
    # Not mapped into memory: a file that is cut short while it is read must not end the process.
    with safe_open(file, framework="np", backend="pread") as opened:
        arrays: Arrays = opened.get_tensors()
        if str(checksum(arrays)) != (opened.metadata() or {}).get("checksum"):
            raise Broken("its checksum is wrong")
    del arrays[TOKENS]
    return arrays


def head(file: Path) -> Saved:
    """What a file says of itself, from its tokens alone. Raises OSError, SafetensorError, Broken."""
    with safe_open(file, framework="np", backend="pread") as opened:
        divisible = (opened.metadata() or {}).get("divisible")
        if divisible not in ("0", "1") or TOKENS not in opened.keys():  # noqa: SIM118 - no dict
            raise Broken("it is none of ours")
        tokens: Tokens = opened.get_tensor(TOKENS)
    if tokens.dtype != np.uint32 or tokens.ndim != 1 or not len(tokens) or name(tokens) != file.stem:
        raise Broken("its name is not that of its tokens")
    return Saved(file, tokens, divisible == "1", file.stat().st_size)


def checksum(arrays: Arrays) -> int:
    """Against bad luck, not malice."""
    total = 0
    for name, array in sorted(arrays.items()):
        total = zlib.crc32(f"{name} {array.dtype} {array.shape}".encode(), total)
        total = zlib.crc32(array.reshape(-1).view(np.uint8).data, total)
    return total
