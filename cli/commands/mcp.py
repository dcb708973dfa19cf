"""`opta mcp serve`: the daemon's sessions as the tools of an MCP server, on standard input and output."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import anyio
import anyio.from_thread
import anyio.to_thread
import click
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp_types import ToolAnnotations
from pydantic import BaseModel, Field

from cli import config
from cli.clients import launcher
from cli.clients.daemon import Daemon, new_id
from cli.output import Failure
from cli.protocol import events
from cli.protocol.sessions import SessionDetail, SessionView
from opta.version import VERSION

INSTRUCTIONS = (
    "Sessions of Opta Local: conversations with an agent that runs on the user's own hardware. Start one in "
    "a folder, or take one that is there, and send it messages; each is a turn that may take minutes."
)
Session = Annotated[str, Field(description="The id of a session, or the beginning of one.")]


@click.group("mcp")
def command() -> None:
    """Opta and the Model Context Protocol."""


@command.command()
def serve() -> None:
    """Speak MCP on standard input and output, for a program that starts this."""
    make_server(Daemon(launcher.ensure)).run("stdio")


class Reply(BaseModel):
    """How a turn ended, and the last message of its answer."""

    session: str
    turn: str
    ending: Literal["done", "cancelled", "stopped"]
    text: str


class Sessions:
    """The tools: each method is one, its name, signature and docstring are its schema."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon

    def list_sessions(self, limit: Annotated[int, Field(ge=1, le=100)] = 20) -> list[SessionView]:
        """List the sessions used last; `active` is the turn that runs now."""
        with told():
            return self.daemon.sessions()[:limit]

    def read_session(self, session: Session) -> SessionDetail:
        """Read a session and its whole conversation."""
        with told():
            return self.daemon.session(self.daemon.resolve(session))

    def start_session(
        self,
        cwd: Annotated[str, Field(description="The folder it works in, as an absolute path.")],
        model: Annotated[str, Field(description="The user's own choice by default.")] = "",
        title: str = "",
    ) -> SessionView:
        """Start a session in a folder. `send_message` then talks with it."""
        with told():
            chosen = config.load(Path(cwd), model=model or None).model
            return self.daemon.create(cwd=cwd, model=chosen, title=title)

    async def send_message(self, session: Session, text: str, context: Context[Any, Any]) -> Reply:
        """Send a message to a session, and wait until its turn ends. Cancelling this cancels the turn."""
        call = Call(self.daemon, session, text)

        def report(count: int, message: str) -> None:
            anyio.from_thread.run(context.report_progress, float(count), None, message)

        try:
            return await anyio.to_thread.run_sync(call.wait, report, abandon_on_cancel=True)
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(call.cancel)
            raise

    def cancel_turn(self, session: Session, turn: str = "") -> None:
        """Cancel one turn of a session, or all that run or wait."""
        with told():
            self.daemon.cancel(self.daemon.resolve(session), turn or None)


class Call:
    """A turn that an MCP client waits for; its methods block, each in a thread of its own."""

    def __init__(self, daemon: Daemon, session: str, text: str) -> None:
        self.daemon = daemon
        self.session = session
        self.text = text
        self.turn = new_id()
        self.submitted = threading.Event()

    def wait(self, report: Callable[[int, str], None]) -> Reply:
        """The turn from its submission to its end, each step of it reported."""
        with told():
            try:
                self.session = self.daemon.resolve(self.session)
                view = self.daemon.submit(self.session, self.text, turn=self.turn)
            finally:
                self.submitted.set()
            said = ""
            for count, event in enumerate(self.daemon.follow(self.session, view), 1):
                said = event.event.text if isinstance(event.event, events.TextDone) else said
                if step := described(event.event):
                    report(count, step)
        return reply(self.session, self.turn, said, event.event)

    def cancel(self) -> None:
        self.submitted.wait()  # what the daemon does not have yet it cannot cancel
        with told():
            self.daemon.cancel(self.session, self.turn)


def make_server(daemon: Daemon) -> MCPServer[Any]:
    tools = Sessions(daemon)
    reads, acts = ToolAnnotations(read_only_hint=True), ToolAnnotations(read_only_hint=False)
    table = (
        (tools.list_sessions, reads),
        (tools.read_session, reads),
        (tools.start_session, acts),
        (tools.send_message, acts),
        (tools.cancel_turn, acts),
    )
    return MCPServer(
        "opta",
        "Opta Local",
        instructions=INSTRUCTIONS,
        version=VERSION,
        tools=[strict(Tool.from_function(run, annotations=kind)) for run, kind in table],
        log_level="WARNING",
    )


def strict(tool: Tool) -> Tool:
    """The library drops an argument that it does not know; here it is refused by its name."""
    known = tool.fn_metadata.arg_model
    tool.fn_metadata.arg_model = type(known.__name__, (known,), {}, extra="forbid")
    tool.parameters = tool.fn_metadata.arg_model.model_json_schema(by_alias=True)
    return tool


@contextmanager
def told() -> Iterator[None]:
    """What goes wrong is the tool's result, for the model that called it to read."""
    try:
        yield
    except Failure as failure:
        raise ToolError(str(failure)) from failure
    except config.ConfigError as error:
        raise ToolError(str(error)) from error


def described(body: events.AnyBody) -> str:
    """One step of a turn, for who waits for its end; empty for what is none."""
    match body:
        case events.TurnStarted(model=model):
            return f"{model} answers"
        case events.TextDelta(text=text):
            return text
        case events.ToolStarted(name=name):
            return f"runs {name}"
        case _:
            return ""


def reply(session: str, turn: str, said: str, ending: events.AnyBody) -> Reply:
    """Raises ToolError for a turn that failed."""
    match ending:
        case events.TurnFailed(message=message, hint=hint):
            raise ToolError(f"{message} {hint}".strip())
        case events.TurnStopped(message=message, hint=hint):
            text = f"{said}\n\n{message} {hint}".strip()
            return Reply(session=session, turn=turn, ending="stopped", text=text)
        case events.TurnCancelled():
            return Reply(session=session, turn=turn, ending="cancelled", text=said)
        case _:
            return Reply(session=session, turn=turn, ending="done", text=said)
