"""The one thread that touches SQLite: one connection, one writer; the event loop never waits on a disk."""

import asyncio
import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from django.db import DatabaseError, OperationalError, connection, transaction

from cli.daemon.errors import StorageFailed, StorageFull
from opta.errors import Refusal

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

# What SQLite gives up with; the plain one of the two where its file is broken.
GIVEN_UP = (OperationalError, DatabaseError)


class Database:
    """`await database(function, *args)` runs plain Django ORM code, one call after the other.

    Raises StorageFull or StorageFailed where SQLite gives up.
    """

    def __init__(self) -> None:
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="database")

    async def __call__(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self.thread, lambda: function(*args, **kwargs))
        except DatabaseError as error:
            if type(error) not in GIVEN_UP:
                raise  # a defect of ours
            raise refusal(error) from error

    async def erase(self) -> None:
        """Leave nothing of deleted rows in the database's files; what cannot be now is, the next time."""
        try:
            await self(erase)
        except Refusal as error:
            log.warning("words that were deleted may still stand in the database's file: %s", error.message)

    def close(self) -> None:
        self.thread.submit(lambda: connection.close()).result()  # each thread has a connection of its own
        self.thread.shutdown()


def erase() -> None:
    """The index keeps deleted words until its parts are one, the journal until it is begun anew."""
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO daemon_words(daemon_words) VALUES ('optimize')")
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@contextmanager
def unsynced() -> Iterator[None]:
    """A transaction that outlives the process from its commit on, and a power cut from the next `sync` on."""
    connection.ensure_connection()
    sqlite = connection.connection
    sqlite.execute("PRAGMA synchronous=NORMAL")
    try:
        with transaction.atomic():
            yield
    finally:
        sqlite.execute("PRAGMA synchronous=FULL")


def sync() -> None:
    """Wait until the disk has all that was committed: SQLite does that by itself after any other commit.

    Raises OperationalError when it does not take it.
    """
    log = f"{connection.settings_dict['NAME']}-wal"
    if not os.path.exists(log):
        return  # nothing was written since SQLite took the log apart, which it does with a sync
    file = os.open(log, os.O_RDWR)
    try:
        os.fsync(file)
    except OSError as error:
        raise OperationalError(str(error)) from error
    finally:
        os.close(file)


def refusal(error: DatabaseError) -> Refusal:
    if "full" in str(error):
        return StorageFull("The disk that holds OPTA_HOME is full. Free some space and try again.")
    return StorageFailed(f"The daemon's database did not take it: {error}. See `opta daemon logs`.")
