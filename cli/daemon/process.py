"""The daemon's process: one a home, found by its files, and gone without a trace when it is told to end."""

import asyncio
import errno
import fcntl
import gc
import logging
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import IO, cast

import uvicorn
import uvloop
from django.core.management import call_command
from django.db import connection

from cli import config
from cli.daemon import settle
from cli.daemon.auth import Application, Border
from cli.daemon.hub import Hub
from cli.protocol import events, state
from opta import body, head, paths
from opta.asgi import application
from opta.version import VERSION

log = logging.getLogger("opta.daemon")

# Where the daemon goes when a stranger holds its port.
SPARE_PORTS = range(10000, 10021)
# A client that asks whether a daemon is there holds the lock for an instant; this long is no client.
LOCK_SECONDS = 0.5
# Every stream has ended by then: for its last bytes to be sent, and for its connection to close.
CLOSE_SECONDS = 1


class Server(uvicorn.Server):
    """uvicorn that ends turns and streams first: their connections would never close by themselves."""

    def __init__(self, config: uvicorn.Config, hub: Hub) -> None:
        super().__init__(config)
        self.hub = hub

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self.hub.stop()
        if self.server_state.tasks:  # streams on their way to their end
            await asyncio.wait(self.server_state.tasks, timeout=CLOSE_SECONDS)
        await super().shutdown(sockets)

    async def on_tick(self, counter: int) -> bool:
        return await super().on_tick(counter) or self.hub.lifetime.over()


def run(make: Callable[[config.Config, str], Hub] = Hub.make, *, supervisor: str = "") -> int:
    """Serve a hub until SIGTERM or SIGINT, or until its time is over.

    Returns the exit status: 0, also when another daemon of this home runs already; EX_TEMPFAIL for
    `supervisor` to start a successor.
    """
    umask = os.umask(0o077)
    choices = config.load()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))  # uvicorn takes over, and raises it again at its end
    with state.lock_file().open("a+") as lock:
        if not acquire(lock):
            print(f"opta daemon: it runs already, pid {holder(lock)}.", file=sys.stderr)
            return 0
        for mended in state.mend():
            log.warning(mended)
        state.state_file().unlink(missing_ok=True)  # a killed daemon's: its port may be a stranger's now
        call_command("migrate", verbosity=0)
        if ended := settle.settle():
            log.warning("%d turns of a daemon that died are failed now", ended)
        connection.close()  # from here on one thread alone has one
        with listen(choices.daemon_port) as listener, announced(listener, supervisor) as token:
            replaced = uvloop.run(serve(listener, partial(make, choices, token), umask))
    return os.EX_TEMPFAIL if replaced and supervisor else os.EX_OK


async def serve(listener: socket.socket, make: Callable[[], Hub], umask: int) -> bool:
    """Serve until the end; whether that was to make room for a successor."""
    hub = make()
    gc.freeze()  # what is there now stays: looking through it again takes 30 ms
    gc.set_threshold(10_000)
    options = uvicorn.Config(
        Border(cast(Application, application), hub),
        lifespan="off",
        http=head.Protocol,
        ws="websockets-sansio",
        ws_per_message_deflate=False,  # nothing is gained on this machine by compressing
        log_config=None,
        access_log=False,
        proxy_headers=False,  # nothing stands between
        server_header=False,
        ws_max_size=body.LIMIT,
        timeout_graceful_shutdown=CLOSE_SECONDS,
    )
    try:
        await hub.jobs.resume(umask)
        await hub.turns.resume()
        await Server(options, hub).serve([listener])
    finally:
        hub.database.close()
    return hub.lifetime.replaced


def acquire(lock: IO[str]) -> bool:
    """Take the lock for as long as the file is open, and write into it who holds it."""
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return True


def holder(lock: IO[str]) -> str:
    lock.seek(0)
    return lock.read() or "unknown"


def listen(port: int) -> socket.socket:
    """A socket on 127.0.0.1: on `port`, or on the next spare one when a stranger holds it."""
    for candidate in (port, *SPARE_PORTS):
        try:
            listener = socket.create_server(("127.0.0.1", candidate))
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            log.warning("port %d is held by another program; trying the next", candidate)
            continue
        # A token goes out at once: asyncio turns Nagle's 40 ms off only where a socket names its protocol.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    raise config.ConfigError(
        f"daemon_port: {port} and {SPARE_PORTS[0]} to {SPARE_PORTS[-1]} are all taken. Set another one."
    )


@contextmanager
def announced(listener: socket.socket, supervisor: str) -> Iterator[str]:
    """Say where the daemon is, for as long as it is there; gives the token."""
    token, port = secrets.token_urlsafe(32), listener.getsockname()[1]
    here = state.State(
        pid=os.getpid(), port=port, version=VERSION, protocol=events.VERSION, supervisor=supervisor
    )
    try:
        paths.replace(state.token_file(), token)
        paths.replace(state.state_file(), here.model_dump_json())
        log.info("the daemon %s listens on http://127.0.0.1:%d, pid %d", VERSION, port, here.pid)
        yield token
    finally:
        state.state_file().unlink(missing_ok=True)
        state.token_file().unlink(missing_ok=True)
