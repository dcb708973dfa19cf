"""What a model is told, and what it answers: the agent loop's side of any chat API."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from cli.protocol.events import ContextCompacted, ContextWarning, Usage, Work


class ToolCall(BaseModel):
    """`arguments` is JSON as the model wrote it: it may be wrong, and then the model is told so."""

    model_config = ConfigDict(frozen=True)

    id: str
    name: str
    arguments: str = "{}"


class Message(BaseModel):
    """One message of a history. `call` is the tool call that a message of the role "tool" answers."""

    model_config = ConfigDict(frozen=True)

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    calls: tuple[ToolCall, ...] = ()
    call: str | None = None


class Reasoning(BaseModel):
    """A piece of what the model thinks; shown, and not sent back."""

    model_config = ConfigDict(frozen=True)

    text: str


class Progress(BaseModel):
    """The server reads the prompt: `done` of `total` tokens; or sums up what no longer fits, in pieces.

    "waiting" is a keep-alive: the server shows life, and no more.
    """

    model_config = ConfigDict(frozen=True)

    done: int
    total: int
    work: Work = "reading"


class Finish(BaseModel):
    """The end of one answer; `model` is the one that gave it, when the server says so."""

    model_config = ConfigDict(frozen=True)

    reason: Literal["stop", "length", "tool_calls"]
    usage: Usage = Usage()
    model: str = ""


# An answer is how far its prompt is read, thoughts, pieces of text, then the calls the model makes, then
# its end. Usage is what was used besides.
Piece = Progress | Reasoning | str | ToolCall | Finish | ContextCompacted | ContextWarning | Usage
