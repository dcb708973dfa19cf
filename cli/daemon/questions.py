"""Whether a tool may run: by the rules, or by whoever answers first when they say that it is to be asked."""

import asyncio
from functools import partial
from json import loads
from pathlib import Path
from typing import Any, NamedTuple

from cli.agent.catalog import Tool
from cli.agent.execute import Verdict
from cli.agent.policy import Call, call_of, decide, patterns
from cli.daemon import rules
from cli.daemon.access.keys import Forbidden
from cli.daemon.access.scopes import allows
from cli.daemon.access.tokens import Caller
from cli.daemon.database import Database
from cli.daemon.errors import BadRules, UnknownRequest
from cli.daemon.log import Logs
from cli.daemon.models import Session, Turn, new_id
from cli.protocol.events import Event, PermissionRequest, PermissionResolved
from cli.protocol.failures import Failure
from cli.protocol.messages import ToolCall
from cli.protocol.permissions import RequestView, RuleAdd
from cli.protocol.socket import PermissionDecision
from opta.errors import Refusal

# What a remembered answer becomes a rule of.
SCOPES: dict[str, Any] = {"session": "session", "always": "user"}
DENIED = "The user did not allow this call."


class Question(NamedTuple):
    """A call that waits for somebody to allow it; `body` is what is known of it, and `patterns` are the rules
    that a remembered answer becomes."""

    turn: Turn
    body: PermissionRequest
    answer: asyncio.Future[PermissionDecision]
    patterns: list[str]


class Questions:
    """The questions that are open. Each is answered once, or ends with its turn; it waits as long as that."""

    def __init__(self, logs: Logs, database: Database) -> None:
        self.logs = logs
        self.database = database
        self.open: dict[str, Question] = {}
        self.tasks: set[asyncio.Task[None]] = set()

    async def judge(self, turn: Turn, call: ToolCall, tool: Tool | None) -> Verdict:
        """Whether a call of a turn may run. Raises Failure when the rules cannot be read."""
        try:
            mode, found, seen = await self.database(look, turn.session_id, call, tool)
        except BadRules as bad:
            raise Failure("bad_permissions", bad.message) from bad
        decision = await asyncio.to_thread(decide, mode, found, seen)  # a command may be long
        if decision.action == "allow":
            return Verdict(True)
        if decision.action == "deny":
            return Verdict(False, f"Not allowed. {decision.reason}")
        if not turn.interactive:
            return Verdict(False, f"Not allowed. {decision.reason} In this turn nobody can be asked.")
        return await self._ask(turn, call, decision.reason, patterns(seen))

    async def resolve(self, session: str, decision: PermissionDecision, by: Caller) -> None:
        """Answer a question, first come first served. Raises UnknownRequest when it waits no longer.

        Once begun it is carried out, also when its client hangs up: the turn waits for nothing else.
        """
        task = asyncio.create_task(self._resolve(session, decision, by))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        await asyncio.shield(task)

    async def _resolve(self, session: str, decision: PermissionDecision, by: Caller) -> None:
        if decision.remember == "always" and not allows(by.scope, "admin"):
            raise Forbidden(
                f"To remember an answer always needs the scope 'admin'; {by.name} has {by.scope!r}."
            )
        await self.logs.of(session).load()  # raises for an unknown session
        question = self.open.get(decision.request)
        if question is None or question.turn.session_id != session:
            raise UnknownRequest(decision.request)
        if decision.remember != "once" and not question.patterns:
            message = "No rule could be about this call alone: its answer is good once."
            raise Refusal(message, field="remember")
        del self.open[decision.request]
        told = PermissionResolved(
            id=decision.request, decision=decision.decision, remember=decision.remember, by=by.name
        )
        try:
            if scope := SCOPES.get(decision.remember):
                for pattern in question.patterns:
                    rule = RuleAdd(action=decision.decision, pattern=pattern, scope=scope, session=session)
                    await self.database(rules.add, rule)
            await self.logs.of(session).append(question.turn.id, told, partial(still, question.turn, told))
        except Refusal:
            if not question.answer.done():
                self.open[decision.request] = question
            raise
        if not question.answer.done():
            question.answer.set_result(decision)

    def waiting(self, session: str | None) -> list[RequestView]:
        """Those of one session, or all."""
        return [
            RequestView(session=turn.session_id, turn=turn.id, **body.model_dump(exclude={"type"}))
            for turn, body, *_ in self.open.values()
            if session in (None, turn.session_id)
        ]

    async def _ask(self, turn: Turn, call: ToolCall, reason: str, found: list[str]) -> Verdict:
        what = {"call": call.id, "name": call.name, "arguments": loads(call.arguments)}
        body = PermissionRequest(id=new_id(), reason=reason, pattern=", ".join(found), **what)
        question = Question(turn, body, asyncio.get_running_loop().create_future(), found)
        self.open[body.id] = question  # before it is told: the answer may come at once
        try:
            await self.logs.of(turn.session_id).append(turn.id, body)
            decision = await question.answer
        finally:
            self.open.pop(body.id, None)
            question.answer.cancel()
        if decision.decision == "allow":
            return Verdict(True)
        return Verdict(False, f"{DENIED} {decision.message}".strip())


def look(session: str, call: ToolCall, tool: Any) -> tuple[str, list[Any], Call]:
    """All that a decision is made from: the mode, the rules, and what the call is about. Raises BadRules."""
    row = Session.objects.get(id=session)
    return row.mode, rules.holding(row), call_of(call, tool, Path(row.cwd))


def still(turn: Turn, told: PermissionResolved, event: Event) -> None:
    """Raises UnknownRequest when the turn has ended meanwhile."""
    if not Turn.objects.filter(pk=turn.pk, state="running").exists():
        raise UnknownRequest(told.id)
