"""`opta acp`: an editor's standard streams joined to the daemon's `/acp`, line by line."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from cli.clients import launcher
from cli.clients.daemon import Address
from cli.output import Exit, Failure

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

PIECE = 1 << 16


@click.command("acp")
def command() -> Exit:
    """Speak the Agent Client Protocol on standard input and output, for an editor that starts this.

    The sessions are the daemon's own: what a terminal does in one of them the editor sees, and the
    other way round.
    """
    return join(launcher.ensure())


def join(address: Address) -> Exit:
    """Pass messages on both ways until the editor is done, or the daemon ends."""
    from websockets.exceptions import ConnectionClosed  # 130 ms that no other command should wait for
    from websockets.sync.client import connect

    done = threading.Event()

    def listen(socket: "ClientConnection") -> None:
        with suppress(ConnectionClosed):
            for line in lines(sys.stdin.fileno()):
                socket.send(line)
        done.set()
        socket.close()

    url = f"{address.url.replace('http', 'ws', 1)}/acp"
    headers = {"Authorization": f"Bearer {address.token}"}
    # No limit: a large answer is the daemon's own. No proxy has a say over a loopback address.
    with connect(url, additional_headers=headers, max_size=None, proxy=None) as socket:
        threading.Thread(target=listen, args=(socket,), daemon=True).start()
        with suppress(ConnectionClosed, BrokenPipeError):
            for message in socket:
                sys.stdout.buffer.write(f"{message!s}\n".encode())
                sys.stdout.buffer.flush()
    if not done.is_set():
        raise Failure(
            "The daemon ended the connection.", Exit.DAEMON_UNREACHABLE, "`opta daemon logs` says why."
        )
    return Exit.OK


def lines(file: int) -> Iterator[str]:
    """Lines that are not empty. Read without Python's buffer: its lock, held in a thread, aborts an exit."""
    rest = b""
    while piece := os.read(file, PIECE):
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            if line.strip():
                yield line.decode(errors="replace")
