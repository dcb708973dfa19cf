"""What fills a session's window."""

from django.http import HttpRequest
from ninja import Router

from cli.agent import context, history
from cli.agent.contents import contents
from cli.daemon import hub, sessions
from cli.daemon.models import Session, facts
from cli.protocol.context import ContextView
from cli.protocol.events import ContextCompacted
from cli.protocol.messages import Message

router = Router()


@router.get("sessions/{id}/context", response=ContextView)
async def get_context(request: HttpRequest, id: str) -> ContextView:
    here = hub.of(request)
    session, messages, compacted = await here.database(told, id)
    tools = session.catalog or (await here.turns.catalog(session)).schemas
    model = here.models.of(session.model, compacted)
    return await contents(model, messages, tools, session.instructions)


def told(id: str) -> tuple[Session, list[Message], ContextCompacted | None]:
    """What the model is told of a session. Raises UnknownSession."""
    session, found = sessions.found(id), facts(id)
    system = Message(role="system", content=session.system)
    return session, [system, *history.messages(found)], context.last(found)
