"""`python -m inference.runner FD ASSIGNMENT`: the process that owns one model.

The pool starts it and holds the other end of the socket FD; when that end closes, for whatever
reason, or SIGTERM comes, this process writes the prompts it keeps to disk and ends.
"""

import asyncio
import os
import signal
import socket
import sys
from contextlib import suppress

import msgspec
import uvloop

from inference.request import Assignment
from inference.runner import link
from inference.runner.session import Session


async def serve(fd: int, assignment: Assignment) -> None:
    reader, writer = await asyncio.open_unix_connection(sock=socket.socket(fileno=fd))
    session = Session(writer, assignment)
    session.scheduler.start()
    serving = asyncio.create_task(obey(session, reader))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving.cancel)
    with suppress(asyncio.CancelledError):
        await serving
    await session.close()


async def obey(session: Session, reader: asyncio.StreamReader) -> None:
    while (commands := await link.receive(reader, link.Commands)) is not None:
        for command in commands:
            session.handle(command)


def main() -> None:
    fd, assignment = sys.argv[1:]
    # The model's thread comes back from its library a thousand times a second, and then must not wait for the
    # 5 ms that another thread may keep the interpreter by default.
    sys.setswitchinterval(0.0005)
    uvloop.run(serve(int(fd), msgspec.json.decode(assignment, type=Assignment)))
    # Not by returning: the model's thread may be deep in a step or a load, and nobody waits for it.
    os._exit(0)


if __name__ == "__main__":
    main()
