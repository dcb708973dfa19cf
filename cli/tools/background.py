"""What the tools need of whoever runs commands in the background: the daemon does."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from cli.protocol.jobs import JobFilter, JobStart, JobView, OutputPage, OutputView, SignalName
from cli.sandbox.box import Box

# From the folder that a command runs in, and one of its own.
Boxed = Callable[[Path, Path], Box]


class Background(Protocol):
    """`umask` is what the user's files are made with."""

    umask: int

    async def start(self, request: JobStart, boxed: Boxed | None = None) -> tuple[JobView, bool]: ...

    async def listed(self, asked: JobFilter) -> list[JobView]: ...

    async def view(self, id: str, wait: float = 0) -> JobView: ...

    async def output(self, id: str, page: OutputPage) -> OutputView: ...

    async def signal(self, id: str, name: SignalName) -> JobView: ...
