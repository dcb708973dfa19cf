"""A session's permission requests, put to an editor; whoever answers first, there or elsewhere, decides."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from acp import schema
from acp.exceptions import RequestError
from acp.meta import CLIENT_METHODS

from cli.daemon.access.tokens import Caller
from cli.daemon.questions import Questions
from cli.protocol import events
from cli.protocol.socket import PermissionDecision
from opta.errors import Refusal

log = logging.getLogger(__name__)

Ask = Callable[[str, Any], Awaitable[Any]]

# What the editor offers: the protocol's kind, which is its id as well, the label, and what is decided by it.
OPTIONS: tuple[tuple[schema.PermissionOptionKind, str, dict[str, Any]], ...] = (
    ("allow_once", "Allow", {"decision": "allow"}),
    ("allow_always", "Allow in this session", {"decision": "allow", "remember": "session"}),
    ("reject_once", "Deny", {"decision": "deny"}),
    ("reject_always", "Deny in this session", {"decision": "deny", "remember": "session"}),
)
DECISIONS: dict[str, dict[str, Any]] = {kind: decided for kind, _, decided in OPTIONS}


class Permissions:
    """Those of one session. One that was answered elsewhere, or whose turn ended, is asked no longer."""

    def __init__(self, questions: Questions, session: str, caller: Caller, ask: Ask) -> None:
        self.questions = questions
        self.session = session
        self.caller = caller
        self.ask = ask
        self.asking: dict[str, asyncio.Task[None]] = {}

    def hear(self, body: events.AnyBody, calls: Mapping[str, str]) -> None:
        """Ask, or wait no longer; `calls` are the editor's names of tool calls."""
        match body:
            case events.PermissionRequest(id=id) if id in self.questions.open:
                put = self._put(body, calls.get(body.call, body.call))
                self.asking[id] = asyncio.create_task(put)
            case events.PermissionResolved(id=id) if id in self.asking:
                self.asking.pop(id).cancel()
            case _ if isinstance(body, events.ENDINGS):
                self.stop()

    def stop(self) -> None:
        """Wait for no answer any longer."""
        for asking in self.asking.values():
            asking.cancel()
        self.asking.clear()

    async def _put(self, request: events.PermissionRequest, call: str) -> None:
        # Where no rule could be about this call alone, no answer can be remembered.
        offered = [each for each in OPTIONS if request.pattern or each[0].endswith("_once")]
        asked = schema.RequestPermissionRequest(
            session_id=self.session,
            tool_call=schema.ToolCallUpdate(
                tool_call_id=call, title=f"{request.name}: {request.reason}", raw_input=request.arguments
            ),
            options=[
                schema.PermissionOption(option_id=kind, name=name, kind=kind) for kind, name, _ in offered
            ],
        )
        try:
            said = await self.ask(
                CLIENT_METHODS["session_request_permission"],
                asked.model_dump(mode="json", by_alias=True, exclude_none=True),
            )
            outcome = schema.RequestPermissionResponse.model_validate(said).outcome
            if isinstance(outcome, schema.AllowedOutcome):  # whichever option it was
                decision = PermissionDecision(request=request.id, **DECISIONS[outcome.option_id])
                await self.questions.resolve(self.session, decision, self.caller)
        except (RequestError, ValueError, KeyError, Refusal) as error:
            # The editor cannot ask, or somebody was faster: the question stays, or is answered.
            log.info("permission %s was not answered by an editor: %s", request.id, error)
