"""The agent's side of the Agent Client Protocol: the daemon's own sessions, as an editor works with them."""

import asyncio
import os
import uuid
from collections.abc import Awaitable, Callable
from datetime import date
from typing import Any, cast, get_args

from acp import Agent, helpers, schema
from acp.agent.router import build_agent_router
from acp.exceptions import RequestError
from acp.meta import CLIENT_METHODS, PROTOCOL_VERSION
from pydantic import ValidationError

from cli.daemon import sessions
from cli.daemon.access.tokens import Caller
from cli.daemon.acp.permissions import Ask, Permissions
from cli.daemon.acp.updates import Block, Ending, Story, written
from cli.daemon.errors import Conflict
from cli.daemon.hub import Hub
from cli.daemon.models import Told
from cli.protocol import events
from cli.protocol.requests import Id, TurnSteer, TurnSubmit
from cli.protocol.sessions import Mode, SessionCreate, SessionPage, SessionView
from opta.api import from_validation
from opta.errors import Refusal
from opta.strict import Strict
from opta.version import VERSION

Notify = Callable[[str, Any], Awaitable[None]]
# A refusal's HTTP status as the protocol's code; all others are invalid params below 500, else internal.
CODES = {404: -32002}
STOPS: dict[events.StopReason, schema.StopReason] = {
    "budget": "max_tokens",
    "max_turns": "max_turn_requests",
    "loop": "max_turn_requests",
    "permission": "refusal",
}
# What counts against the limit of a caller's writes; a cancel always goes through.
WRITES = {"session/new", "session/prompt", "session/set_mode", "_opta/steer"}
MODES: tuple[Mode, ...] = get_args(Mode)
PAGE = 100


class Steer(Strict):
    """The name is in the protocol's spelling."""

    sessionId: Id
    text: str


class Editor:
    """One connection: the sessions it has open. The methods are named and called by the library."""

    def __init__(self, hub: Hub, caller: Caller) -> None:
        self.hub = hub
        self.caller = caller
        self.route = build_agent_router(cast(Agent, self))
        self.open: dict[str, Watch] = {}
        self.notify: Notify
        self.ask: Ask

    async def answer(self, method: str, params: Any, is_notification: bool) -> Any:
        """One request or notification; a refusal in the protocol's dialect."""
        try:
            if method in WRITES:
                self.hub.keys.permit(self.caller, "write", method, write=True)
            return await self.route(method, params, is_notification)
        except (Refusal, ValidationError) as error:
            refusal = (
                error if isinstance(error, Refusal) else from_validation(list(map(dict, error.errors())))
            )
            code = CODES.get(refusal.status, -32602 if refusal.status < 500 else -32603)
            data = {"code": refusal.code, "field": refusal.field}
            raise RequestError(code, refusal.message, data) from error

    async def initialize(self, **_: Any) -> schema.InitializeResponse:
        return schema.InitializeResponse(
            protocol_version=PROTOCOL_VERSION,
            agent_info=schema.Implementation(name="opta", title="Opta Local", version=VERSION),
            agent_capabilities=schema.AgentCapabilities(
                load_session=True,
                prompt_capabilities=schema.PromptCapabilities(embedded_context=True),
                session_capabilities=schema.SessionCapabilities(list=schema.SessionListCapabilities()),
            ),
            auth_methods=[],
        )

    async def new_session(
        self, cwd: str, mcp_servers: list[Any] | None = None, **_: Any
    ) -> schema.NewSessionResponse:
        view, _created = await self.hub.database(sessions.create, SessionCreate(cwd=cwd), date.today())
        watch = self.watch(view)
        watch.note = unused(mcp_servers)
        watch.follow()
        return schema.NewSessionResponse(session_id=view.id, modes=modes(view.mode))

    async def load_session(
        self, cwd: str, session_id: str, mcp_servers: list[Any] | None = None, **_: Any
    ) -> schema.LoadSessionResponse:
        """Answers when the editor has been told all there is so far."""
        view = await self.view(session_id)
        if not same(view.cwd, cwd):
            raise Refusal(f"Session {view.id} works in {view.cwd}, not in {cwd}.", field="cwd")
        watch = self.watch(view)
        watch.note = unused(mcp_servers)
        await watch.replay(view.seq)
        return schema.LoadSessionResponse(modes=modes(view.mode))

    async def list_sessions(
        self, cwd: str | None = None, cursor: str | None = None, **_: Any
    ) -> schema.ListSessionsResponse:
        page = SessionPage(limit=PAGE, cwd=cwd, before=cursor)
        found = await self.hub.database(sessions.listed, page)
        infos = [
            schema.SessionInfo(
                session_id=each.id, cwd=each.cwd, title=each.title, updated_at=each.updated.isoformat()
            )
            for each in found.sessions
        ]
        return schema.ListSessionsResponse(sessions=infos, next_cursor=found.next)

    async def set_session_mode(self, session_id: str, mode_id: str, **_: Any) -> None:
        """Stored, and told to everyone who has the session open, this editor too."""
        if mode_id not in MODES:
            raise Refusal(f"There is no mode {mode_id!r}: {', '.join(MODES)}.", field="modeId")
        told = events.SessionUpdated(mode=mode_id)
        await self.hub.logs.of(session_id).append("", told, lambda _: sessions.change(session_id, told))

    async def prompt(self, session_id: str, prompt: list[Block], **_: Any) -> schema.PromptResponse:
        """Answers when the turn has ended, after its last update."""
        text = written(prompt)
        watch = self.open.get(session_id) or self.watch(await self.view(session_id))
        return ended(await watch.prompt(text))

    async def cancel(self, session_id: str, **_: Any) -> None:
        if watch := self.open.get(session_id):
            await watch.cancel()

    async def ext_method(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """`_opta/steer` {sessionId, text}: text for the turn that runs; the protocol has no word for it."""
        if method != "opta/steer":
            raise RequestError.method_not_found(f"_{method}")
        steer = Steer.model_validate(params)
        running = self.hub.turns.running.get(steer.sessionId)
        if running is None:
            raise Conflict(f"No turn of session {steer.sessionId!r} runs: send a prompt.")
        taken = await self.hub.turns.steer(steer.sessionId, running.turn.id, TurnSteer(text=steer.text))
        return taken.model_dump()

    async def view(self, id: str) -> SessionView:
        """Raises UnknownSession."""
        return await self.hub.database(sessions.shown, id)

    def watch(self, view: SessionView) -> "Watch":
        if view.id not in self.open:
            asks = Permissions(self.hub.questions, view.id, self.caller, self.ask)
            self.open[view.id] = Watch(self.hub, view, self.notify, asks)
        return self.open[view.id]

    async def close(self) -> None:
        """The editor has gone; its turns go on, as those of every client do."""
        for watch in self.open.values():
            watch.stop()


class Watch:
    """A session in an editor: every client's events as updates, and the prompts that wait for their end."""

    def __init__(self, hub: Hub, view: SessionView, notify: Notify, permissions: Permissions) -> None:
        self.hub = hub
        self.id = view.id
        self.notify = notify
        self.permissions = permissions
        self.log = hub.logs.of(view.id)
        self.story = Story(view.cwd)
        # Told up to here.
        self.seq = view.seq
        self.cwd = view.cwd
        # Said once, before the next answer.
        self.note = ""
        self.prompts: dict[str, asyncio.Future[Ending]] = {}
        # Held while a turn is submitted: a cancel that comes right behind finds it.
        self.submitting = asyncio.Lock()
        self.follower: asyncio.Task[None] | None = None

    async def prompt(self, text: str) -> Ending:
        """Run a turn to its end. Raises Refusal when it is not taken, or its end cannot be stored."""
        turn = uuid.uuid4().hex
        if self.note:
            await self.update(helpers.update_agent_message_text(self.note))
            self.note = ""
        ending = self.prompts[turn] = asyncio.get_running_loop().create_future()
        try:
            async with self.submitting:
                await self.hub.turns.submit(self.id, TurnSubmit(id=turn, text=text, interactive=True))
            self.follow()
            return cast(Ending, await ending)
        finally:
            del self.prompts[turn]

    async def cancel(self) -> None:
        """End what runs, whoever asked for it, and what this editor asked for and still waits."""
        async with self.submitting:
            running = self.hub.turns.running.get(self.id)
            for turn in {*self.prompts, *([running.turn.id] if running else [])}:
                await self.hub.turns.cancel(self.id, turn)

    async def replay(self, until: int) -> None:
        """Tell all from the beginning, and then follow."""
        self.stop()
        self.seq, self.story = 0, Story(self.cwd)
        while self.seq < until and (batch := await self.log.newer(self.seq)):
            for event in batch:
                await self.tell(event)
        self.follow()

    def follow(self) -> None:
        """Tell each event as it comes; taken up again where the last one ended."""
        if self.follower is None or self.follower.done():
            self.follower = asyncio.create_task(self._follow())

    def stop(self) -> None:
        self.permissions.stop()
        if self.follower:
            self.follower.cancel()
            self.follower = None

    async def _follow(self) -> None:
        try:
            async for event in self.log.follow(self.seq):
                await self.tell(event)
            why: Refusal = self.hub.lifetime.why
        except Refusal as refusal:  # no turn can end for now: its prompts are told so, others may try again
            why = refusal
        for ending in self.prompts.values():
            if not ending.done():
                ending.set_exception(why)

    async def tell(self, event: Told) -> None:
        ending = self.prompts.get(event.turn)
        for update in self.story.updates(event, mine=ending is not None):
            await self.update(update)
        self.seq = event.seq
        self.permissions.hear(event.event, self.story.calls)
        if ending and not ending.done() and isinstance(event.event, Ending):
            ending.set_result(event.event)

    async def update(self, update: helpers.SessionUpdate) -> None:
        told = update.model_dump(mode="json", by_alias=True, exclude_none=True)
        await self.notify(CLIENT_METHODS["session_update"], {"sessionId": self.id, "update": told})


def modes(current: str) -> schema.SessionModeState:
    each = [schema.SessionMode(id=mode, name=mode.capitalize()) for mode in MODES]
    return schema.SessionModeState(current_mode_id=current, available_modes=each)


def unused(servers: list[Any] | None) -> str:
    """What the user is told of MCP servers that the editor hands over; they cannot be refused one by one."""
    names = ", ".join(server.name for server in servers or [])
    return f"The editor's MCP servers are not used here: {names}.\n\n" if names else ""


def same(one: str, other: str) -> bool:
    """Whether both are the same folder, links followed."""
    return os.path.realpath(one) == os.path.realpath(other)


def ended(ending: Ending) -> schema.PromptResponse:
    """How a turn ended, in the protocol's words. Raises RequestError when it failed."""
    match ending:
        case events.TurnDone(finish_reason=reason, usage=usage):
            return schema.PromptResponse(
                stop_reason="max_tokens" if reason == "length" else "end_turn",
                usage=schema.Usage(
                    input_tokens=usage.prompt_tokens,
                    output_tokens=usage.completion_tokens,
                    total_tokens=usage.prompt_tokens + usage.completion_tokens,
                    cached_read_tokens=usage.cached_tokens,
                ),
            )
        case events.TurnCancelled():
            return schema.PromptResponse(stop_reason="cancelled")
        case events.TurnStopped(reason=stop):
            return schema.PromptResponse(stop_reason=STOPS[stop])
        case events.TurnFailed(code=code, message=message, hint=hint):
            raise RequestError(-32603, f"{message} {hint}".strip(), {"code": code})
