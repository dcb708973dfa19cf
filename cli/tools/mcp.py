"""The tools of MCP servers: programs that the user or a trusted project names, started when first needed.

A server is kept alive for all sessions of its folder. One that went away is started again at the next turn
or call, once; a call that was under way then is not made again, for nobody knows how far it came.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from os.path import isfile
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationError

from cli import trust
from opta import paths
from opta.strict import Strict

if TYPE_CHECKING:
    from mcp import Client
    from mcp_types import CallToolResult, Tool

log = logging.getLogger(__name__)

# Where a project names its servers, and by which name the user's own file lies in OPTA_HOME.
OF_A_PROJECT, OF_THE_USER = ".opta/mcp.json", "mcp.json"
# A server has so long to start and to say what it has; one that failed is left alone for a while.
START_SECONDS, REST_SECONDS = 10.0, 30.0
CLOSE_SECONDS = 2.0
# What any API takes as the name of a tool.
LETTERS, LONGEST = re.compile(r"[^a-zA-Z0-9_-]"), 64

ServerName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9-]{1,24}$")]


class Away(Exception):
    """A server does not run, or does not answer."""


class Refused(Exception):
    """What a server says went wrong in one of its tools."""


class Program(Strict):
    """A server: a program that speaks MCP on standard input and output."""

    command: Annotated[str, Field(min_length=1)]
    args: list[str] = []
    env: dict[str, str] = {}
    type: Literal["stdio"] = "stdio"


class Programs(Strict):
    """A file of servers, in the form that other programs have for theirs."""

    servers: dict[ServerName, Program] = Field(default={}, alias="mcpServers")


@dataclass(frozen=True)
class Named:
    """A server as it is to run."""

    name: str
    program: Program
    folder: Path


def named(cwd: Path) -> list[Named]:
    """The servers for sessions in `cwd`: the user's, and those of trusted folders, the nearest last."""
    projects = (folder for folder in (*reversed(cwd.parents), cwd) if isfile(f"{folder}/{OF_A_PROJECT}"))
    allowed = ((folder / OF_A_PROJECT, folder) for folder in projects if trust.trusted(folder))
    files = [(paths.opta_home() / OF_THE_USER, Path.home()), *allowed]
    return [each for file, folder in files for each in read(file, folder)]


def read(file: Path, folder: Path) -> Iterator[Named]:
    """The servers of a file; none of one that cannot be read, which the log then says."""
    try:
        programs = Programs.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return
    except (OSError, ValidationError) as error:
        log.warning("%s names no MCP servers: %s", file, error)
        return
    for name, program in programs.servers.items():
        yield Named(name, program, folder)


class Connection:
    """One server. Its tasks enter and leave it by themselves, as its library wants."""

    def __init__(self, named: Named) -> None:
        self.named = named
        self.lock = asyncio.Lock()
        self.client: asyncio.Future[Client] | None = None
        self.over = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self.failed = -REST_SECONDS

    async def tools(self) -> "list[Tool]":
        """What it has right now. Raises Away."""
        async with self.lock:
            if self.client is None and monotonic() - self.failed < REST_SECONDS:
                raise Away(f"The MCP server {self.named.name} does not start.")
            return (await self._there())[1]

    async def call(self, tool: str, arguments: dict[str, Any]) -> str:
        """What a tool answers, as text. Raises Refused, and Away."""
        async with self.lock:
            client, _ = await self._there()
        with told(f"The MCP server {self.named.name} failed at it, and how far it came is not known"):
            result = await client.call_tool(tool, arguments)
        text = "\n".join(shown(result))
        if result.is_error:
            raise Refused(text)
        return text

    async def close(self) -> None:
        self.client = None
        self.over.set()
        if self.task:
            await asyncio.wait([self.task], timeout=CLOSE_SECONDS)
            self.task.cancel()
            with suppress(asyncio.CancelledError):
                await self.task

    async def _there(self) -> "tuple[Client, list[Tool]]":
        """The program that runs, or a new one, and what it has. Raises Away."""
        again = self.client is not None
        try:
            with told(f"The MCP server {self.named.name} is away"):
                async with asyncio.timeout(START_SECONDS):
                    client = await self._running()
                    return client, await listed(client)
        except Away as away:
            await self.close()
            if again:
                return await self._there()
            self.failed = monotonic()
            log.warning("%s", away)
            raise

    async def _running(self) -> "Client":
        if self.client is None:
            self.client, self.over = asyncio.get_running_loop().create_future(), asyncio.Event()
            self.task = asyncio.create_task(self._run(self.client, self.over))
        return await asyncio.shield(self.client)

    async def _run(self, ready: "asyncio.Future[Client]", over: asyncio.Event) -> None:
        program = self.named.program
        given = {"command": program.command, "args": program.args, "env": program.env or None}
        try:
            with told(f"The MCP server {self.named.name} does not run"):
                mcp = await asyncio.to_thread(import_module, "mcp")  # most of a second
                async with mcp.Client(mcp.StdioServerParameters(**given, cwd=self.named.folder)) as client:
                    ready.set_result(client)
                    await over.wait()
        except Away as away:
            if ready.done():
                log.warning("%s", away)
            else:
                ready.set_exception(away)


class Servers:
    """The servers of all sessions."""

    def __init__(self) -> None:
        self.connections: dict[tuple[str, Path], Connection] = {}

    async def tools(self, cwd: Path) -> dict[str, Callable[..., Any]] | None:
        """The tools of the servers named for `cwd` that run; None where none is named."""
        found = named(cwd)
        await self._end_others(cwd, found)
        if not found:
            return None
        nearest = {each.name: each for each in found}.values()
        lists = await asyncio.gather(*map(self._tools, nearest))
        return {name: tool for each in lists for name, tool in each.items()}

    async def _tools(self, wanted: Named) -> dict[str, Callable[..., Any]]:
        connection = self.connections.setdefault((wanted.name, wanted.folder), Connection(wanted))
        try:
            tools = await connection.tools()
        except Away:
            return {}
        return {full_name(wanted.name, tool.name): bound(connection, tool) for tool in tools}

    async def _end_others(self, cwd: Path, found: list[Named]) -> None:
        """Those that `cwd` no longer names so: their file changed, or is not trusted any more."""
        if not self.connections:
            return
        above = {cwd, *cwd.parents, Path.home()}
        stale = [
            each
            for each in self.connections.values()
            if each.named.folder in above and each.named not in found
        ]
        for each in stale:
            del self.connections[each.named.name, each.named.folder]
            await each.close()

    async def close(self) -> None:
        await asyncio.gather(*(connection.close() for connection in self.connections.values()))


async def listed(client: "Client") -> "list[Tool]":
    page = await client.list_tools(cache_mode="bypass")
    found = list(page.tools)
    while page.next_cursor:
        page = await client.list_tools(cursor=page.next_cursor, cache_mode="bypass")
        found += page.tools
    return found


def full_name(server: str, tool: str) -> str:
    """A name that every API takes; one that had to be changed for it stays apart from those alike."""
    wanted = f"mcp__{server}__{tool}"
    name = LETTERS.sub("_", wanted)
    if name == wanted and len(name) <= LONGEST:
        return name
    return f"{name[: LONGEST - 9]}_{sha256(tool.encode(errors='replace')).hexdigest()[:8]}"


def bound(connection: Connection, tool: "Tool") -> Callable[..., Any]:
    """A tool as the agent loop runs it, with the server's own words and schema."""

    async def call(**arguments: Any) -> str:
        return await connection.call(tool.name, arguments)

    call.__doc__ = tool.description or tool.title or tool.name
    hints = tool.annotations
    vars(call).update(mutates=not (hints and hints.read_only_hint), parameters=tool.input_schema)
    return call


def shown(result: "CallToolResult") -> Iterator[str]:
    """What a model can read of a result."""
    for part in result.content:
        text = getattr(part, "text", None)
        yield text if isinstance(text, str) else f"[{part.type}, which cannot be shown as text]"
    if not result.content and result.structured_content is not None:
        yield str(result.structured_content)


@contextmanager
def told(what: str) -> Iterator[None]:
    """Raises Away, which says what happened and why."""
    try:
        yield
    except Away:
        raise
    except Exception as error:  # a library that runs a program: neither names all that it may die of
        raise Away(f"{what}: {reason(error)}") from error


def reason(error: BaseException) -> str:
    """What an error says, or the first of those that it is made of."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__
