"""daemon.log: what the daemon says on its standard streams, kept to a bounded size."""

import logging
import os
from typing import TextIO

from cli.protocol import state

# Then daemon.log becomes daemon.log.1, in the place of the one before.
MOST = 5_000_000


class Handler(logging.StreamHandler[TextIO]):
    """Writes to standard error, and where that is daemon.log goes on in a new one once it is large."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if full():
                rotate()
        except OSError:  # it goes on in the large one; the next line tries again
            self.handleError(record)
        super().emit(record)


def full() -> bool:
    """Whether standard error is daemon.log, and large."""
    here = os.fstat(2)
    if here.st_size < MOST:
        return False
    log = state.log_file()
    return log.exists() and os.path.samestat(here, log.stat())


def rotate() -> None:
    state.log_file().replace(state.rotated_log_file())
    take()


def take() -> None:
    """Have both standard streams go to daemon.log from now on, a traceback and a library's cry as well."""
    log = os.open(state.log_file(), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)
