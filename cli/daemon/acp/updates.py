"""A session's events as an editor's updates, and an editor's prompt as a turn's text."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

from acp import helpers, schema

from cli.daemon.models import Told
from cli.protocol import events
from opta.errors import Refusal

Block = (
    schema.TextContentBlock
    | schema.ImageContentBlock
    | schema.AudioContentBlock
    | schema.ResourceContentBlock
    | schema.EmbeddedResourceContentBlock
)
Ending = events.TurnDone | events.TurnFailed | events.TurnCancelled | events.TurnStopped

# The icon that an editor shows beside a tool's name.
KINDS: dict[str, schema.ToolKind] = {
    "read_file": "read",
    "list_dir": "read",
    "glob": "search",
    "grep": "search",
}


class Story:
    """What the editor has been told of one session, so that each event adds what it lacks.

    A message is told when its turn begins: one that waits would stand in the midst of another's answer.
    """

    def __init__(self, cwd: str) -> None:
        self.cwd = cwd
        self.waiting: dict[str, str] = {}
        # The message being written, and the thought before it.
        self.said = self.thought = ""
        # What the editor calls each tool call, by the model's name for it.
        self.calls: dict[str, str] = {}

    def updates(self, event: Told, *, mine: bool) -> Iterator[helpers.SessionUpdate]:
        """`mine` is a turn of this editor's own: it shows the message already, and is told the end."""
        match event.event:
            case events.TurnQueued(text=text):
                self.waiting[event.turn] = text
            case events.TurnStarted():
                self.said = self.thought = ""
                text = self.waiting.pop(event.turn, "")
                if text and not mine:
                    yield helpers.update_user_message_text(text)
            case events.TurnSteered(text=text):
                yield helpers.update_user_message_text(text)
            case events.ContextWarning(message=message):
                yield helpers.update_agent_thought_text(f"{message}\n\n")
            case events.ToolStarted() as call:
                yield self.started(event.seq, call)
            case events.ToolDone() as call:
                yield self.done(call)
            case (
                events.TurnDone() | events.TurnCancelled() | events.TurnFailed() | events.TurnStopped() as end
            ):
                self.waiting.pop(event.turn, None)
                if why := reason(end, mine=mine):
                    yield helpers.update_agent_message_text(why)
            case events.SessionUpdated(mode=mode, title=title):
                if mode is not None:
                    yield helpers.update_current_mode(mode)
                if title is not None:
                    yield schema.SessionInfoUpdate(session_update="session_info_update", title=title)
            case body:
                yield from self.words(body)

    def words(self, body: events.AnyBody) -> Iterator[helpers.SessionUpdate]:
        """Prose and thoughts: what a whole message has beyond its pieces was lost on the way, and is told."""
        match body:
            case events.TextDelta(text=text):
                self.said += text
                yield helpers.update_agent_message_text(text)
            case events.TextDone(text=text):
                if missing := rest(text, self.said):
                    yield helpers.update_agent_message_text(missing)
                self.said = ""
            case events.ReasoningDelta(text=text):
                self.thought += text
                yield helpers.update_agent_thought_text(text)
            case events.ReasoningDone(text=text):
                if missing := rest(text, self.thought):
                    yield helpers.update_agent_thought_text(missing)
                self.thought = ""

    def started(self, seq: int, call: events.ToolStarted) -> schema.ToolCallStart:
        path = call.arguments.get("path")
        return helpers.start_tool_call(
            self.name(call.call, seq),
            f"{call.name} {path}" if isinstance(path, str) else call.name,
            kind=KINDS.get(call.name, "other"),
            status="in_progress",
            locations=[schema.ToolCallLocation(path=os.path.join(self.cwd, path))]
            if isinstance(path, str)
            else None,
            raw_input=call.arguments,
        )

    def done(self, call: events.ToolDone) -> schema.ToolCallProgress:
        return helpers.update_tool_call(
            self.calls.get(call.call, call.call),
            status="completed" if call.ok else "failed",
            content=[helpers.tool_content(helpers.text_block(call.result))],
        )

    def name(self, call: str, seq: int) -> str:
        """The editor's name for a call: a model may give one name to several calls of a session."""
        self.calls[call] = f"call-{seq}"
        return self.calls[call]


def reason(end: Ending, *, mine: bool) -> str:
    """Why a turn ended early, where the editor would not learn it by the answer to its prompt."""
    match end:
        case events.TurnStopped(message=message, hint=hint):
            return f"\n\n{message} {hint}".rstrip()
        case events.TurnFailed(message=message, hint=hint) if not mine:
            return f"\n\n{message} {hint}".rstrip()
    return ""


def rest(whole: str, pieces: str) -> str:
    """What `whole` has beyond `pieces`; after a crash it may have less, and then nothing is missing."""
    return "" if pieces.startswith(whole) else whole.removeprefix(pieces)


def written(blocks: Sequence[Block]) -> str:
    """The text of a prompt, what is attached to it in its place. Raises Refusal."""
    text = "".join(one(block) for block in blocks)
    if not text.strip():
        raise Refusal("The prompt has no text.", field="prompt")
    return text


def one(block: Block) -> str:
    match block:
        case schema.TextContentBlock(text=text):
            return text
        case schema.ResourceContentBlock(name=name, uri=uri):
            return f"[@{name}]({uri})"
        case schema.EmbeddedResourceContentBlock(resource=schema.TextResourceContents(uri=uri, text=text)):
            return f'\n<context uri="{uri}">\n{text}\n</context>\n'
    kind: Any = block.type
    raise Refusal(f"A prompt takes text, links and embedded text, not {kind}.", field="prompt")
