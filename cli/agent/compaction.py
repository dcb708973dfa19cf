"""How a conversation that no longer fits is told from now on: the fact that `context.view` reads.

First, results of tools that the model has read give way to a line each. Where that frees too little,
the middle becomes a summary, made by the model from pieces that fit its window, or else from the
messages' own first words. What comes out is measured before it is taken.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Literal

from cli.agent import context
from cli.agent.context import Budget, bytes_of, cut, weight
from cli.protocol.events import ContextCompacted
from cli.protocol.failures import TOO_LONG, Failure
from cli.protocol.messages import Message, Progress

# size(messages) is their tokens with the tools; ask(task, text, bytes) the model's answer to a task, which
# fails as TOO_LONG where the text does not fit.
Size = Callable[[Sequence[Message]], Awaitable[int]]
Ask = Callable[[str, str, int], Awaitable[str]]

TASK = (
    "You shorten the record of a conversation between a user and an assistant that works with tools. "
    "Write down what the assistant needs in order to go on: what the user wants, what was decided and why, "
    "files and names and figures exactly, what failed, what is done and what is left. Only the notes."
)
HEADER = "[Earlier messages were left out to fit your window. These notes stand for them.]"
NOTES = "\n\nNotes:\n"
# Of the room for messages: what a summary may take, and the least that leaving results out must free.
SUMMARY, WORTH = 1 / 8, 3 / 4
# What is new may have more tokens a byte than what was measured.
CAREFUL = 0.9
# Summaries of summaries get shorter each time; a model that makes them no shorter is cut.
ROUNDS = 4
# Of a message, where a summary is made of first words alone, in bytes.
WORDS = 200


@dataclass(frozen=True)
class Crowded:
    """A request of `tokens` that its window does not hold, and how it was told so far."""

    messages: Sequence[Message]
    tools: Sequence[dict[str, Any]]
    last: ContextCompacted | None
    budget: Budget
    tokens: int
    exact: bool
    # Tokens a byte: in this very conversation, or the most that was seen of this model.
    density: float

    @property
    def said(self) -> list[Message]:
        return context.split(self.messages)[1]

    @property
    def room(self) -> int:
        """Bytes for messages: what the system prompt and the tools leave. Raises Failure."""
        system = context.split(self.messages)[0]
        room = int(self.budget.prompt / self.density) - weight(system, self.tools)
        if room < bytes_of(HEADER) * 4:
            window = self.budget.window
            raise Failure(
                TOO_LONG, f"The system prompt and the tools alone fill a window of {window} tokens."
            )
        return room

    def fact(self, **fields: Any) -> ContextCompacted:
        return ContextCompacted(
            messages=len(self.said),
            before=self.tokens,
            after=0,
            window=self.budget.window,
            exact=self.exact,
            **fields,
        )


async def compact(
    crowded: Crowded, size: Size, ask: Ask
) -> AsyncGenerator[Progress | ContextCompacted, None]:
    """The first way to tell it that fits, once its summary is made. Raises Failure when none does: the user's
    message is too long."""
    fact = without_results(crowded)
    found = await fitting(crowded, [fact], size) if fact else None
    if found is None:
        summary = Summary(crowded)
        async with aclosing(summary.write(ask)) as steps:
            async for step in steps:
                yield step
        found = await fitting(crowded, shorter(crowded, summary.text, summary.made), size)
    if found is None:
        message = (
            f"The last message does not fit the model's window of {crowded.budget.window} tokens, "
            "however little else is told."
        )
        raise Failure(TOO_LONG, message)
    yield found


async def fitting(
    crowded: Crowded, facts: Iterator[ContextCompacted] | list[ContextCompacted], size: Size
) -> ContextCompacted | None:
    """The first of these that makes a request that fits."""
    for fact in facts:
        after = await size(context.view(crowded.messages, fact))
        if after <= crowded.budget.prompt:
            return fact.model_copy(update={"after": after})
    return None


def without_results(crowded: Crowded) -> ContextCompacted | None:
    """All results that the model has read left out; None when that frees too little."""
    said, last = crowded.said, crowded.last
    masked = context.groups(said)[-1]
    through, summary = (last.through, last.summary) if last else (0, "")
    if masked <= through:
        return None
    told = bytes_of(summary) + weight(context.masked(message) for message in said[through:masked])
    room = crowded.room - told
    if room < crowded.room * WORTH:
        return None
    return crowded.fact(through=through, summary=summary, masked=masked, room=int(room * CAREFUL))


def shorter(crowded: Crowded, summary: str, made: Literal["model", "digest"]) -> Iterator[ContextCompacted]:
    """A summary and the last messages, ever shorter; at last the summary alone, unless the user speaks."""
    said, room = crowded.said, crowded.room
    ends = [(tail(said, room // 12), summary)]
    if said[-1].role != "user":
        ends.append((len(said), summary + "\n" + context.transcript(said[ends[0][0] :], WORDS)))
    for through, text in ends:
        for part in (1, 2, 4, 8):
            notes = noted(said[:through], text, int(room * SUMMARY) // part)
            left = int((room - bytes_of(notes)) * CAREFUL) // part
            yield crowded.fact(through=through, masked=through, summary=notes, room=left, made=made)


def tail(said: Sequence[Message], size: int) -> int:
    """Where what stays word for word begins: the last group, and as many before it as are that short."""
    starts = context.groups(said)
    start = starts.pop()
    while starts and weight(said[starts[-1] :]) <= size:
        start = starts.pop()
    return start


def noted(said: Sequence[Message], summary: str, size: int) -> str:
    """The notes, led by the user's last words among what they stand for, which no summary may change."""
    asked = next((message.content for message in reversed(said) if message.role == "user"), "")
    words = f"{HEADER}\nThe user's last message in them:\n{cut(asked, size // 3)}{NOTES}"
    return words + cut(summary, max(0, size - bytes_of(words)))


class Summary:
    """What is to give way, in the model's words; in its own first words when the model fails at it.

    The messages are summed up in pieces that the window holds, and so are the pieces' summaries, until one
    is left. A piece that is refused as too long all the same is halved.
    """

    def __init__(self, crowded: Crowded) -> None:
        said, room, last = crowded.said, crowded.room, crowded.last
        gone = said[: tail(said, room // 12)]
        self.fresh = gone[last.through :] if last else gone
        self.before = last.summary.partition(NOTES)[2] + "\n" if last else ""
        self.longest = room // 24
        # Bytes of a summary, and of what one is made of: the task, the answer and what the estimate is
        # short of leave this of the window.
        self.size = int(room * SUMMARY)
        piece = int((crowded.budget.prompt - crowded.budget.results) * CAREFUL / crowded.density)
        self.piece = max(WORDS, piece - bytes_of(TASK))
        self.text = ""
        self.made: Literal["model", "digest"] = "model"

    async def write(self, ask: Ask) -> AsyncGenerator[Progress, None]:
        """Fill in `text` and `made`; yields how far it is, in pieces."""
        self.text = self.before + context.transcript(self.fresh, self.longest)
        try:
            for _ in range(ROUNDS):
                notes: list[str] = []
                async with aclosing(self._sum_up(notes, ask)) as steps:
                    async for step in steps:
                        yield step
                self.text = "\n".join(notes)
                if len(notes) <= 1:
                    break
        except Failure:
            self.text = (
                ""  # not the end of the turn: notes of another kind take its place, and the fact says so
            )
        if not self.text.strip():
            words, size = context.transcript(self.fresh, WORDS), self.size // 3
            self.text, self.made = cut(self.before, size) + cut(words, size), "digest"

    async def _sum_up(self, notes: list[str], ask: Ask) -> AsyncGenerator[Progress, None]:
        """Append to `notes` what the model makes of each piece of the text."""
        waiting = list(context.pieces(self.text, self.piece))
        while waiting:
            yield Progress(done=len(notes), total=len(notes) + len(waiting), work="summarising")
            try:
                notes.append(cut(await ask(TASK, waiting[0], self.size), self.size))
            except Failure as failure:
                if failure.code != TOO_LONG or self.piece <= WORDS:
                    raise
                self.piece = max(WORDS, bytes_of(waiting[0]) // 2)
                waiting = list(context.pieces("".join(waiting), self.piece))
            else:
                del waiting[0]
