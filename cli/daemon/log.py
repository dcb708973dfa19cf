"""A session's log: a list in memory, a wake-up, and rows; replay and live are the same line.

A fact is a row before anybody sees it. Text is shown as it comes and stored within a second, so a
killed daemon loses a second of prose; the numbers it was shown under are reserved in the session's
row beforehand, so none of them ever names something else.
"""

import asyncio
import logging
from bisect import bisect_right
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager, aclosing
from datetime import UTC, datetime
from functools import partial
from operator import attrgetter
from typing import Any
from weakref import WeakValueDictionary

from django.db import transaction

from cli.daemon.database import Database, unsynced
from cli.daemon.errors import UnknownSession
from cli.daemon.metrics import Metrics
from cli.daemon.models import Session, Told, newer, store
from cli.daemon.past import Past
from cli.daemon.whole import whole
from cli.protocol.events import ENDINGS, AnyBody, Delta, Event, TurnProgress, TurnStarted
from opta.errors import Refusal

log = logging.getLogger(__name__)

# Numbers reserved ahead of the text that is shown before it is stored.
BLOCK = 1000
# Text is gathered this long before it is shown as one event, and shown this long before it is stored.
GATHER_SECONDS = 0.05
STORE_SECONDS = 0.5
# Rounds of the event loop in which a turn's request gets on its way before its beginning is written: SQLite's
# thread would only take the interpreter from it, and the model has its own time to take.
AHEAD = 5
# Events read from rows at a time, and kept in memory at most once they are rows.
PAGE = 200

# Logs opened last that are kept though nobody holds them.
RECENT = 8

# What facts change besides the log, in the same transaction; raising keeps the facts from happening.
Change = Callable[..., None]
Transaction = Callable[[], AbstractContextManager[Any]]
# The facts that follow from all before them, at a moment when no other can come between.
Opening = Callable[[Past], Sequence[AnyBody]]


class Log:
    """The events of one session. Only one turn at a time writes text; facts may come from anywhere."""

    def __init__(self, session: str, database: Database, metrics: Metrics) -> None:
        self.session = session
        self.database = database
        self.metrics = metrics
        # Events above `floor`, in order; the first `stored` of them are rows.
        self.tail: list[Event] = []
        self.stored = 0
        self.floor = self.seq = self.reserved = -1
        # Known as long as nothing but turns happened to the session since it was read.
        self.past: Past | None = None
        # The turn under way, and what it says that is not shown yet.
        self.writer = ""
        self.deltas: list[Delta] = []
        self.shown_at = 0.0
        self.timer: asyncio.TimerHandle | None = None
        self.saver: asyncio.Task[None] | None = None
        # Held while rows are written. Nothing is shown meanwhile: it would overtake the fact being stored.
        self.lock = asyncio.Lock()
        self.more = asyncio.Event()
        self.closed = False
        # Whether the session was deleted: another one of its name has a log of its own.
        self.gone = False
        # Why the turn under way cannot end for now: nobody should wait for what does not come.
        self.stuck: Refusal | None = None

    async def append(self, turn: str, body: AnyBody, change: Change | None = None) -> Event:
        """Store a fact and then show it, after all text written so far.

        A caller that is cancelled meanwhile leaves it whole. Raises what `change` raises, UnknownSession,
        StorageFull or StorageFailed, and then nothing has happened.
        """
        return await whole(self._append(turn, body, change))

    async def begin(self, turn: str, opening: Opening, change: Change) -> Sequence[Event]:
        """Store and show the facts that a turn opens with; `change` is given their events.

        They are on the disk for good once a `sync` or any `append` has come after them. Raises what
        `opening` raises, and what `append` does.
        """
        try:
            async with self.lock:
                if self.past is None:
                    past = await self.database(Past.read, self.session)
                    self._stand(past.session)
                    self.past = past
                facts = [(turn, body) for body in opening(self.past)]
                for _ in range(AHEAD):
                    await asyncio.sleep(0)
                return (await self._commit(*facts, change=change, within=unsynced))[-len(facts) :]
        finally:
            self.show_text()

    def write(self, delta: Delta) -> None:
        """A piece of the turn under way, shown soon or with what follows in the next 50 ms."""
        if self.deltas and type(self.deltas[-1]) is type(delta):
            delta = joined(self.deltas.pop(), delta)
        self.deltas.append(delta)
        if self.timer is None:
            loop = asyncio.get_running_loop()
            self.timer = loop.call_at(self.shown_at + GATHER_SECONDS, self.show_text)

    async def flush(self) -> None:
        """Show and store all that was written so far. Raises what `append` raises."""
        await self.load()
        async with self.lock:
            if self.deltas or self.stored < len(self.tail):
                await self._commit()

    async def follow(self, after: int) -> AsyncIterator[Told]:
        """Every event above `after`, and then each as it comes, until the log is closed.

        Raises `stuck` after the last one.
        """
        async with aclosing(self.batches(after)) as batches:
            async for batch in batches:
                for event in batch:
                    yield event

    async def batches(self, after: int) -> AsyncGenerator[Sequence[Told], None]:
        """As `follow`, in as many at once as there are."""
        with self.metrics.followers.track_inprogress():
            while True:
                more = self.more
                batch = await self.newer(after)
                if batch:
                    yield batch
                    after = batch[-1].seq
                elif self.stuck:
                    raise self.stuck
                elif self.closed:
                    return
                else:
                    await more.wait()

    async def newer(self, after: int) -> Sequence[Told]:
        """Events above `after` that there are by now, or the first of them; none when there is none."""
        await self.load()
        while after < (floor := self.floor):  # which may rise meanwhile
            if rows := await self.database(newer, self.session, after, floor, PAGE):
                return rows
            after = floor
        return self.tail[bisect_right(self.tail, after, key=attrgetter("seq")) :]

    def check(self, after: int) -> None:
        """Raises Refusal for a number that no event of the session has reached: it is from elsewhere."""
        if after > self.seq:
            raise Refusal(f"The last event of {self.session!r} is {self.seq}, not {after}.", field="after")

    def stick(self, why: Refusal | None) -> None:
        """Tell every follower that the turn under way cannot end; None once it can again."""
        self.stuck = why
        self._wake()

    def close(self) -> None:
        """Let every follower come to its end."""
        self.closed = True
        self._wake()

    async def load(self) -> None:
        """Read where the session stands, once. Raises UnknownSession."""
        if self.floor >= 0:
            return
        found = await self.database(Session.objects.filter(id=self.session).first)
        if found is None:
            raise UnknownSession(self.session)
        self._stand(found)

    def _stand(self, row: Session) -> None:
        if self.floor < 0:  # another may have loaded it meanwhile
            self.floor = self.seq = self.reserved = row.reserved
            self.past = None if row.seq else Past(row, ())

    async def _append(self, turn: str, body: AnyBody, change: Change | None) -> Event:
        await self.load()
        try:
            async with self.lock:
                return (await self._commit((turn, body), change=change))[-1]
        finally:
            self.show_text()

    async def _commit(
        self,
        *facts: tuple[str, AnyBody],
        change: Change | None = None,
        within: Transaction = transaction.atomic,
    ) -> list[Event]:
        """Store and show what was written, and then the facts."""
        deltas, self.deltas = self.deltas, []  # what comes meanwhile stays
        said = [*((self.writer, delta) for delta in deltas), *facts]
        fresh = [self._event(ahead, turn, body) for ahead, (turn, body) in enumerate(said, 1)]
        try:
            await self._store(fresh, change and partial(change, *fresh[len(deltas) :]), within)
        except BaseException:
            self.deltas = [*deltas, *self.deltas]
            self.past = None  # `change` may have gone half its way
            raise
        if fresh:
            self._show(fresh)
        self.stored = len(self.tail)
        self._trim()
        return fresh

    async def _store(
        self,
        fresh: list[Event],
        change: Callable[[], None] | None = None,
        within: Transaction = transaction.atomic,
    ) -> None:
        if self.gone:
            raise UnknownSession(self.session)
        batch = [*self.tail[self.stored :], *fresh]
        writer = writer_after(fresh[-1], self.writer) if fresh else self.writer
        # Only text is shown ahead of its row, and there is none while no turn is under way.
        reserved = (fresh[-1].seq if fresh else self.seq) + (BLOCK if writer else 0)

        def write() -> None:
            with within():
                if change:
                    change()
                store(self.session, batch, reserved)

        await self.database(write)
        self.stored += len(batch) - len(fresh)
        self.reserved, self.writer = reserved, writer

    def _event(self, ahead: int, turn: str, body: AnyBody) -> Event:
        return Event(seq=self.seq + ahead, turn=turn, time=datetime.now(UTC), event=body)

    def _show(self, events: list[Event]) -> None:
        self.tail += events
        self.seq = events[-1].seq
        if self.past and not self.past.add(events):
            self.past = None
        self._wake()
        self.metrics.see(self.session, events)

    def show_text(self) -> None:
        """Show the gathered text, unless rows are being written or no number is reserved: then soon."""
        if self.timer:
            self.timer.cancel()
            self.timer = None
        if not self.deltas or self.lock.locked():
            return
        if now := self.deltas[: max(0, self.reserved - self.seq)]:
            self._show([self._event(ahead, self.writer, delta) for ahead, delta in enumerate(now, 1)])
            del self.deltas[: len(now)]
            self.shown_at = asyncio.get_running_loop().time()
        if self.saver is None:
            self.saver = asyncio.create_task(self._save())

    async def _save(self) -> None:
        """Make rows of the text that was shown, and reserve numbers for what follows."""
        await asyncio.sleep(STORE_SECONDS)
        self.saver = None
        try:
            async with self.lock:
                if self.deltas or self.stored < len(self.tail):  # else a fact came first and took it along
                    await self._store([])
                    self._trim()
        except Refusal as error:  # the text stays in memory: the next fact or save stores it too
            log.warning("session %s: %s", self.session, error.message)
        self.show_text()

    def shed(self) -> None:
        """Keep nothing in memory that is stored: its rows are fewer since some were deleted."""
        self._trim(above=0, keep=0)

    def _trim(self, above: int = 2 * PAGE, keep: int = PAGE) -> None:
        """Keep in memory no more stored events than a page; older ones are read from rows."""
        if self.stored > above:
            cut = self.stored - keep
            self.floor = self.tail[cut - 1].seq
            self.stored -= cut
            del self.tail[:cut]

    def _wake(self) -> None:
        self.more.set()
        self.more = asyncio.Event()


def joined(one: Delta, next: Delta) -> Delta:
    """Two pieces of a kind as one: text goes on, progress is the latest."""
    if isinstance(one, TurnProgress) or isinstance(next, TurnProgress):
        return next
    return type(next)(text=one.text + next.text)


def writer_after(fact: Event, writer: str) -> str:
    """The turn that is under way after a fact."""
    if isinstance(fact.event, TurnStarted):
        return fact.turn
    return "" if fact.turn == writer and isinstance(fact.event, ENDINGS) else writer


class Logs:
    """The logs in use, one a session: each lives while a turn or a follower holds it, and a little longer."""

    def __init__(self, database: Database, metrics: Metrics | None = None) -> None:
        self.database = database
        self.metrics = metrics or Metrics()
        self.open: WeakValueDictionary[str, Log] = WeakValueDictionary()
        # A client that comes back for each turn finds what the last one left.
        self.recent: deque[Log] = deque(maxlen=RECENT)
        self.closed = asyncio.Event()

    def of(self, session: str) -> Log:
        found = self.open.get(session)
        if found is None:
            found = self.open[session] = Log(session, self.database, self.metrics)
            found.closed = self.closed.is_set()
            self.recent.append(found)
        return found

    def drop(self, session: str) -> None:
        """End the streams of a session that was deleted; one of its name begins anew."""
        if found := self.open.pop(session, None):
            found.gone = True
            found.close()

    def close(self) -> None:
        """End every stream, also those that are opened from now on."""
        self.closed.set()
        for each in list(self.open.values()):
            each.close()
