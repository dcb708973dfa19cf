"""The queue: turns of one session run one after the other, sessions side by side; every state is a row.

A turn goes queued → running → done, failed, cancelled or stopped, each step by compare-and-set and in
one transaction with its event: what followers see is what the tables say.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import aclosing
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast
from weakref import WeakValueDictionary

from cli.agent.catalog import Catalog, Tool, Tools, permitted, tiers
from cli.agent.execute import Verdict
from cli.agent.loop import Chat, run
from cli.agent.steering import Steering
from cli.daemon import compaction, models, settle, steers
from cli.daemon.database import Database, sync
from cli.daemon.errors import Conflict, Stopping, UnknownSession
from cli.daemon.log import Change, Logs, Opening
from cli.daemon.models import Lost, Taken, Turn, new_id
from cli.daemon.past import Past
from cli.daemon.running import STATES, Ahead, Ending, Running, Task
from cli.daemon.whole import whole
from cli.protocol.events import (
    DELTAS,
    AnyBody,
    ContextCompacted,
    Event,
    TurnCancelled,
    TurnDone,
    TurnQueued,
    TurnStarted,
    TurnSteered,
)
from cli.protocol.failures import Failure
from cli.protocol.messages import Message, ToolCall
from cli.protocol.requests import SteerView, TurnState, TurnSteer, TurnSubmit, TurnView
from opta.errors import Refusal

logger = logging.getLogger(__name__)

T = TypeVar("T")
STOPPED = Failure("daemon_stopped", "The daemon was stopped while this turn was under way.").event()
NEVER_RUN = Failure("daemon_stopped", "The daemon was stopped before this turn began.").event()
REPLACED = Failure("daemon_replaced", "The daemon was replaced before this turn came to its end.").event()
# Between tries to store how a turn ended: until it is stored, it has not ended.
RETRY_SECONDS = 1.0


class Turns:
    """The turns of all sessions. `chat` gives the way to ask a model by its name,
    as its conversation was last compacted; `tools` those of a session in its folder, `servers` those of
    the folder's MCP servers."""

    def __init__(
        self,
        logs: Logs,
        database: Database,
        chat: Callable[[str, ContextCompacted | None], Chat],
        *,
        allow: Callable[[Turn, ToolCall, Tool | None], Awaitable[Verdict]],
        servers: Callable[[Path], Awaitable[Tools | None]],
        tools: Callable[[Path, str], Tools],
    ) -> None:
        self.logs = logs
        self.database = database
        self.chat = chat
        self.tools = tools
        self.servers = servers
        self.allow = allow
        self.running: dict[str, Running] = {}
        self.lanes: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self.tasks: set[asyncio.Task[Any]] = set()
        self.stopping = self.draining = False

    async def submit(self, session: str, request: TurnSubmit) -> TurnView:
        """Queue a turn. Once it is a row it runs, even if the caller hangs up meanwhile."""
        return await whole(self._spawn(self._submit(session, request)))

    async def steer(self, session: str, turn: str, request: TurnSteer) -> SteerView:
        """Add text to the running turn. Once it is a row the model reads it, or with the next turn.

        Raises Conflict when the turn does not run, and UnknownSession or UnknownTurn.
        """
        if self.stopping:
            raise Stopping
        return await whole(self._spawn(self._steer(session, turn, request)))

    async def cancel(self, session: str, turn: str | None = None) -> list[str]:
        """End one turn, or all that run or wait, and return those that had not ended by themselves.

        Raises UnknownSession or UnknownTurn.
        """
        waiting = await self.database(cancellable, session, turn)
        ended = [each.id for each in waiting if await self._finish(each, TurnCancelled(), "queued")]
        running = self.running.get(session)
        if running and turn in (None, running.turn.id):
            running.stop(TurnCancelled())
            await asyncio.wait([cast(Task, running.task)])
            ended += [running.turn.id] if running.turn.state == "cancelled" else []
        return ended

    async def resume(self) -> None:
        """Go on with the turns that a daemon before this one had in its queue."""
        for turn in await self.database(waiting_turns):
            self._line_up(turn.session_id)

    async def drain(self, seconds: float) -> None:
        """Begin no more turns, and wait at most so long for those that run; the others go on in the next
        daemon, those submitted from now on as well."""
        self.draining = True
        if running := [each.task for each in self.running.values() if each.task]:
            await asyncio.wait(running, timeout=seconds)

    async def stop(self) -> None:
        """End all turns, for the daemon ends; none begins any more."""
        self.stopping = True
        for running in list(self.running.values()):
            running.stop(REPLACED if self.draining else STOPPED)
        while self.tasks:
            await asyncio.wait(self.tasks)
        if self.draining:
            return
        for turn in await self.database(waiting_turns):
            await self._finish(turn, NEVER_RUN, "queued")

    async def catalog(self, session: models.Session) -> Catalog:
        """The tools that a session may use now, told of as its first turn was told."""
        cwd = Path(session.cwd)
        own, served = permitted(self.tools(cwd, session.id), session.tools), await self.servers(cwd)
        listed, searched = tiers(own, None if served is None else permitted(served, session.tools))
        return Catalog(listed, searched, session.catalog)

    async def _submit(self, session: str, request: TurnSubmit) -> TurnView:
        """Where no turn runs or waits the new one begins at once, and is stored together with its start."""
        if self.stopping:
            raise Stopping
        turn = Turn(
            session_id=session,
            id=request.id or new_id(),
            text=request.text,
            model=request.model or "",
            interactive=request.interactive,
        )
        opening = partial(queued, turn, request.last_seen_seq)
        lane = self.lanes.get(session)  # and held until the turn is in it
        try:
            if lane is None and not self.draining:
                running = self._begin(turn, opening)
                self._line_up(session, running)
                await whole(running.stored)
            else:
                if before := self.running.get(session):  # whose place in the queue is before this one's
                    await asyncio.wait([before.stored])
                await self.logs.of(session).begin(turn.id, opening, partial(turn.enqueue, "queued"))
                self._line_up(session)
        except Taken:
            return await self.database(same_turn, session, request)
        await self.database(sync)
        return turn.view()

    async def _steer(self, session: str, turn: str, request: TurnSteer) -> SteerView:
        running, body = self.running.get(session), TurnSteered(id=request.id or new_id(), text=request.text)
        steering = running.steering if running and running.turn.id == turn else Steering(closed=True)
        async with steering.lock:
            change = partial(steers.steer, session, turn, body.id, not steering.closed)
            try:
                event = await self.logs.of(session).append(turn, body, change)
            except Taken:
                return await self.database(steers.same, session, turn, body)
            steering.waiting.append(body)
        return SteerView(id=body.id, turn=turn, seq=event.seq)

    def _line_up(self, session: str, begun: Running | None = None) -> None:
        """One task for each turn; a lane is there as long as one of them is in it or waits for it."""
        lane = self.lanes.setdefault(session, asyncio.Lock())
        task = self._spawn(self._work(session, lane, begun))
        if begun:
            begun.task = task

    async def _work(self, session: str, lane: asyncio.Lock, begun: Running | None) -> None:
        """Run the turn that has begun, or the first that waits: one at a time in a session."""
        async with lane:
            running = begun or await self._next(session)
            if begun:
                await asyncio.wait([begun.stored])
                if begun.stored.exception():  # which who submitted it is told
                    await self._leave(begun)
                    return
            if running:
                await self._run(running)
                past = running.log.past
                if past is None or len(past.turns) > compaction.KEPT:
                    self._spawn(compaction.run(self.database, running.log))

    def _begin(self, turn: Turn, before: Opening | None = None) -> Running:
        """Store that the turn starts, a new one after what is `before`, and ask the model meanwhile."""
        log = self.logs.of(turn.session_id)
        running = self.running[turn.session_id] = Running(turn, log)

        def opening(past: Past) -> list[AnyBody]:
            bodies = list(before(past)) if before else []
            turn.session = past.session
            messages, compacted, reminder = past.conversation(turn.text, date.today())
            running.said = Ahead(
                self._said(turn, messages, self.chat(turn.model, compacted), running.steering)
            )
            return [*bodies, TurnStarted(model=turn.model, mode=turn.session.mode, reminder=reminder)]

        change = partial(turn.enqueue, "running") if before else lambda _: turn.move("running", "queued")
        running.stored = self._spawn(self._store(running, opening, change))
        return running

    async def _store(self, running: Running, opening: Opening, change: Change) -> None:
        """Store and show how the turn begins, together with what the model has said by then."""
        await running.log.begin(running.turn.id, opening, change)
        if running.said and (first := running.said.take_delta()):
            running.log.write(first)
            running.log.show_text()

    async def _said(
        self, turn: Turn, messages: Sequence[Message], chat: Chat, steering: Steering
    ) -> AsyncGenerator[AnyBody, None]:
        """The agent loop, with the tools that there are now."""
        catalog = await self.catalog(turn.session)
        bodies = run(
            messages,
            chat=chat,
            catalog=catalog,
            allow=lambda call: self.allow(turn, call, catalog.tool(call.name)),
            steering=steering,
        )
        async with aclosing(bodies):
            async for body in bodies:
                yield body
                # No sooner: the turn's beginning is stored first, and its first words are not kept waiting.
                if turn.session.catalog is None and not isinstance(body, DELTAS):
                    turn.session.catalog = catalog.schemas
                    self._spawn(self._keep_catalog(turn.session))

    async def _keep_catalog(self, session: models.Session) -> None:
        """Store what the model is told of the tools, beside its first answer: nobody waits for it."""
        try:
            await self.database(models.Session.objects.filter(id=session.id).update, catalog=session.catalog)
        except Refusal as refusal:  # the next daemon takes the tools that there are then
            logger.warning("session %s: %s", session.id, refusal.message)

    async def _next(self, session: str) -> Running | None:
        """Begin the first turn that waits; asks until the disk answers, or the turn would wait for ever."""
        while not self.stopping:
            try:
                turn = await self.database(next_turn, session)
                return self._begin(turn) if turn and not (self.stopping or self.draining) else None
            except Refusal as refusal:
                logger.error("session %s cannot go on: %s", session, refusal.message)
                await asyncio.sleep(RETRY_SECONDS)
        return None

    async def _run(self, running: Running) -> None:
        running.task, running.heard = cast(Task, asyncio.current_task()), True
        try:
            ending = running.ending or await self._answer(running)
        except Lost:
            return  # cancelled while it waited
        except asyncio.CancelledError:
            ending = running.ending or STOPPED
        except Failure as failure:
            ending = failure.event()
        except Refusal as refusal:
            ending = Failure("storage_failed", refusal.message).event()
        except Exception as error:  # whatever a turn dies of, its followers are told and the daemon goes on
            logger.exception("turn %s of session %s", running.turn.id, running.turn.session_id)
            ending = Failure("internal_error", f"{type(error).__name__}: {error}").event()
        finally:
            await self._leave(running)
        await self._end(running, ending)

    async def _leave(self, running: Running) -> None:
        """Nothing more is heard of the model."""
        del self.running[running.turn.session_id]
        await asyncio.wait([running.stored])
        if running.said:
            await running.said.aclose()

    async def _answer(self, running: Running) -> Ending:
        """Pull the agent loop and put what it yields into the log, once the turn's beginning is there."""
        await whole(running.stored)
        async for body in cast(Ahead, running.said):
            if isinstance(body, DELTAS):
                running.log.write(body)
            elif isinstance(body, Ending):
                return body
            else:
                # The loop goes on when this is a row: no tool runs before its tool.started is one.
                await running.log.append(running.turn.id, body)
        raise AssertionError("the loop ended without an ending")

    async def _end(self, running: Running, ending: Ending) -> None:
        """Store how the turn ended, after what it had open; tries until the disk takes it."""
        while True:
            try:
                if not isinstance(ending, TurnDone):  # which leaves nothing open
                    await self._close(running)
                await self._finish(running.turn, ending, "queued", "running")
                running.log.stick(None)
                return
            except UnknownSession:
                return  # deleted meanwhile, and this turn with it
            except Refusal as refusal:
                running.log.stick(refusal)
                logger.error("turn %s cannot end: %s", running.turn.id, refusal.message)
                await asyncio.sleep(RETRY_SECONDS)

    async def _close(self, running: Running) -> None:
        """Store as a whole what the turn was saying, and a result for each call that was running."""
        await running.log.flush()
        for body in await self.database(settle.unfinished, running.turn):
            await running.log.append(running.turn.id, body)

    async def _finish(self, turn: Turn, ending: Ending, *states: TurnState) -> bool:
        """End a turn that is in one of these states; False when it was in none of them any more."""
        try:
            change = partial(finish, turn, STATES[type(ending)], states)
            await self.logs.of(turn.session_id).append(turn.id, ending, change)
        except Lost:
            return False
        return True

    def _spawn(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task


def queued(turn: Turn, seen: int | None, past: Past) -> list[AnyBody]:
    """What a new turn begins with. Raises Taken, or Behind when its client has not seen the newest fact."""
    past.admit(turn.id, seen)
    turn.session = past.session
    turn.model = turn.model or past.session.model
    return [TurnQueued(text=turn.text)]


def finish(turn: Turn, state: TurnState, states: Sequence[TurnState], event: Event) -> None:
    turn.move(state, *states)


def waiting_turns(session: str | None = None, turn: str | None = None) -> list[Turn]:
    """Those queued: of one session, and one of its turns, when they are named."""
    named = {"session_id": session, "id": turn}
    chosen = {key: value for key, value in named.items() if value is not None}
    return list(Turn.objects.filter(state="queued", **chosen).order_by("session_id", "seq"))


def cancellable(session: str, turn: str | None) -> list[Turn]:
    """Those queued that a cancel is about. Raises UnknownSession or UnknownTurn."""
    if not models.Session.objects.filter(id=session).exists():
        raise UnknownSession(session)
    if turn is not None:
        Turn.of(session, turn)
    return waiting_turns(session, turn)


def next_turn(session: str) -> Turn | None:
    return Turn.objects.filter(session_id=session, state="queued").order_by("seq").first()


def same_turn(session: str, request: TurnSubmit) -> TurnView:
    """The turn that was submitted before under this id. Raises Conflict when it was another one."""
    turn = Turn.of(session, str(request.id))
    if turn.text != request.text or turn.model != (request.model or turn.model):
        raise Conflict(f"The session has a turn {turn.id!r} with another text or model.", field="id")
    return turn.view()
