"""A terminal with a person at it: a program on a pty, keys in, and what the screen was told."""

import asyncio
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# What moves the cursor or colours text: CSI and OSC sequences, and single escapes.
ESCAPES = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07]*\x07|[=>78])")
DEADLINE = 60.0
# Ctrl-C reaches the program only when this terminal is the one that controls it.
ADOPT = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Terminal:
    """`said` is all output since the last `expect`, without escapes; a wait ends when its text has come."""

    def __init__(self, command: list[str], **popen: object) -> None:
        self.keyboard, screen = pty.openpty()
        termios.tcsetwinsize(screen, (40, 120))
        self.process = subprocess.Popen(
            [sys.executable, "-c", ADOPT, *command],
            stdin=screen,
            stdout=screen,
            stderr=screen,
            start_new_session=True,
            **popen,
        )
        os.close(screen)
        self.said = b""

    def type(self, keys: str) -> None:
        os.write(self.keyboard, keys.encode())

    def expect(self, text: str) -> str:
        """Wait until `text` was written; what came before and with it is returned, and forgotten."""
        end = time.monotonic() + DEADLINE
        while text.encode() not in (seen := ESCAPES.sub(b"", self.said)):
            ready, _, _ = select.select([self.keyboard], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                raise AssertionError(f"no {text!r} within {DEADLINE:.0f} s: {seen[-2000:]!r}")
            self.said += self.read()
        before, found, after = seen.partition(text.encode())
        self.said = after
        return (before + found).decode()

    def read(self) -> bytes:
        try:
            return os.read(self.keyboard, 65536)
        except OSError as error:  # how Linux says that the program closed its terminal
            raise AssertionError(f"the program ended: {self.said[-2000:]!r}") from error

    def wait(self) -> int:
        """The exit status, once the program ended by itself."""
        while True:
            try:
                if not os.read(self.keyboard, 65536):
                    break
            except OSError:
                break
        return self.process.wait(DEADLINE)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.keyboard)


@contextmanager
def terminal(shell: Any, *words: str) -> Iterator[Terminal]:
    """`opta` with these words, at a terminal in the shell's folder."""
    opened = Terminal(shell.command(*words), env=shell.env, cwd=shell.folder)
    try:
        yield opened
    finally:
        opened.close()


async def expect(screen: Terminal, text: str) -> str:
    """As the terminal's own, while what the test serves goes on."""
    return await asyncio.to_thread(screen.expect, text)
