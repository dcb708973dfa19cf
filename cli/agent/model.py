"""The model of a turn: each request is made to fit the window, and streamed.

The window and the count of tokens come from the server where it tells them. Elsewhere they are learnt
from its answers: what a refusal says, and how many tokens it says it has read.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from math import inf
from time import monotonic
from typing import Any, Protocol

from cli.agent import needle, overflow
from cli.agent.compaction import Crowded, compact
from cli.agent.context import Budget, bytes_of, view, weight
from cli.agent.overflow import too_long
from cli.clients.refusals import Refused
from cli.clients.server import Card
from cli.protocol.events import ContextCompacted, ContextWarning, Usage
from cli.protocol.failures import TOO_LONG, Failure
from cli.protocol.messages import Finish, Message, Piece, Progress, Reasoning

# Tokens of a model whose server does not say: most have more, and one that has less says so, or is found out.
UNKNOWN = 32_768
# Seconds until a server is asked again for the window of a model, which may be loaded with another.
FRESH = 300.0
# Tokens a byte that nothing was measured of yet: English has a quarter, code a third.
GUESS = 0.4
# A byte of new text may have more tokens than those before it had.
CAREFUL = 1.25
# No text of that size has fewer tokens than one in so many bytes, unless it is made of blanks.
SPARSE = 12
# Shorter requests fit the smallest window that a server cuts to by itself (2,048 tokens, in old Ollama).
PROBED = 6_000
# Times that a window is corrected in one request.
CORRECTIONS = 4
# Characters that a model may think before it answers a question of ours.
THOUGHT = 8_000


class Client(Protocol):
    """A model server, or several behind one name; its methods raise Failure."""

    def chat(
        self, model: str, messages: Sequence[Message], tools: Sequence[dict[str, Any]], **options: Any
    ) -> AsyncGenerator[Piece, None]: ...

    async def card(self, model: str) -> Card: ...

    async def count(
        self, model: str, messages: Sequence[Message], tools: Sequence[dict[str, Any]]
    ) -> int: ...


@dataclass
class Gauge:
    """What is known of one model; it lives as long as the daemon, and is learnt again by the next one."""

    card: Card = field(default_factory=Card)
    asked: float = -FRESH
    # The window that a refusal or an answer gave away.
    learnt: int | None = None
    # Tokens a byte, the most that was seen.
    density: float = 0.0
    # Bytes of the longest request that a probe proved to be read whole.
    proved: int = PROBED
    # Bytes of the shortest one that a probe found cut.
    unread: float = inf

    @property
    def window(self) -> int:
        context = self.card.context or UNKNOWN
        return min(context, self.learnt or context)


@dataclass(frozen=True)
class Measured:
    """A request whose tokens are known."""

    bytes: int
    tokens: int


class Models:
    """The models of a server, each with what is known of it."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.gauges: dict[str, Gauge] = {}

    def of(self, name: str, compacted: ContextCompacted | None = None) -> "Model":
        """The model for one turn of a conversation that was last compacted so."""
        return Model(self.client, name, self.gauges.setdefault(name, Gauge()), compacted)


class Model:
    """One model in one turn: what it was told last is what the next request is measured by."""

    def __init__(self, client: Client, name: str, gauge: Gauge, compacted: ContextCompacted | None) -> None:
        self.client = client
        self.name = name
        self.gauge = gauge
        self.compacted = compacted
        self.measured: Measured | None = None
        # What requests of our own have used: summaries and probes.
        self.aside = Usage()

    async def chat(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], **options: Any
    ) -> AsyncGenerator[Piece, None]:
        """One answer; before it, how the conversation had to be compacted; after it, a warning if need be.

        A Usage is what was used beside the answer, which says its own. What has begun to be answered is
        never asked again.
        """
        corrections = CORRECTIONS
        while True:
            async with aclosing(self._fit(messages, tools)) as steps:
                async for step in steps:
                    yield step
            shown, begun, usage = view(messages, self.compacted), False, Usage()
            try:
                async with aclosing(self.client.chat(self.name, shown, tools, **options)) as pieces:
                    async for piece in pieces:
                        begun = begun or not isinstance(piece, Progress)
                        usage = piece.usage if isinstance(piece, Finish) else usage
                        yield piece
                break
            except Failure as failure:
                if begun or not too_long(failure):
                    raise
                if not corrections:
                    raise Failure(TOO_LONG, failure.message) from failure
                corrections -= 1
                self._correct(failure)
        if warning := await self._learn(shown, tools, usage):
            yield warning
        yield self._aside()

    async def measure(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]]) -> tuple[int, bool]:
        """Tokens of a request, and whether the server counted them."""
        exact = await self._count(messages, tools) if (await self.known()).card.counts else None
        if exact is not None:
            return exact, True
        size, past = weight(messages, tools), self.measured
        density = self.gauge.density * CAREFUL or GUESS
        if past and past.bytes <= size:
            return past.tokens + int((size - past.bytes) * density), False
        return int(size * density), False

    async def known(self) -> Gauge:
        """The gauge, with what the server says by now of the model's window."""
        if monotonic() - self.gauge.asked >= FRESH:
            try:
                self.gauge.card = await self.client.card(self.name)
            except Refused:
                self.gauge.card = Card()  # it has no cards
            except Failure:
                return self.gauge  # the request itself will meet whatever it is, and say so
            self.gauge.asked = monotonic()
        return self.gauge

    async def _count(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]]) -> int | None:
        """What the server counts; None when it cannot now."""
        try:
            tokens = await self.client.count(self.name, messages, tools)
        except Failure:
            return None  # as above
        return tokens

    async def _fit(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]]
    ) -> AsyncGenerator[Progress | ContextCompacted | Usage, None]:
        """Compact the conversation if it does not fit; yields how far that is, how it is told, its cost."""
        shown = view(messages, self.compacted)
        budget = Budget((await self.known()).window)
        if self._surely(shown, tools) <= budget.prompt:
            return
        tokens, exact = await self.measure(shown, tools)
        if tokens <= budget.prompt:
            return
        self.measured = None  # of a request that the next one does not extend

        async def size(told: Sequence[Message]) -> int:
            if weight(told, tools) <= budget.prompt:
                return weight(told, tools)
            return (await self.measure(told, tools))[0]

        density = max(self.gauge.density, tokens / weight(shown, tools))
        crowded = Crowded(messages, tools, self.compacted, budget, tokens, exact, density)
        async with aclosing(compact(crowded, size, self._ask)) as steps:
            async for step in steps:
                self.compacted = step if isinstance(step, ContextCompacted) else self.compacted
                yield step
        yield self._aside()

    def _surely(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]]) -> int:
        """Tokens that the request cannot exceed, without asking: no token is shorter than a byte."""
        size, past = weight(messages, tools), self.measured
        return past.tokens + size - past.bytes if past and past.bytes <= size else size

    async def _ask(self, task: str, text: str, size: int) -> str:
        """The answer to a task of our own, in about `size` bytes at most."""
        asked = [Message(role="system", content=task), Message(role="user", content=text)]
        try:
            return await self._answer(asked, size)
        except Failure as failure:
            code = TOO_LONG if too_long(failure) else failure.code
            raise Failure(code, failure.message) from failure

    async def _answer(self, messages: Sequence[Message], size: int) -> str:
        said = ""
        thought = 0
        options = {"max_tokens": max(256, size // 2)}
        async with aclosing(self.client.chat(self.name, messages, (), **options)) as pieces:
            async for piece in pieces:
                said += piece if isinstance(piece, str) else ""
                thought += len(piece.text) if isinstance(piece, Reasoning) else 0
                self.aside += piece.usage if isinstance(piece, Finish) else Usage()
                if bytes_of(said) > size or thought > THOUGHT:
                    break  # not every server holds to max_tokens
        return said

    def _aside(self) -> Usage:
        """What was used beside the answers since this was last asked."""
        used, self.aside = self.aside, Usage()
        return used

    def _correct(self, failure: Failure) -> None:
        """Take the window for what the server says it is; for less, if it says nothing new."""
        said, window = overflow.window(failure), self.gauge.window
        self.gauge.learnt = said if 0 < said < window else window * 4 // 5
        self.measured = None

    async def _learn(
        self, shown: Sequence[Message], tools: Sequence[dict[str, Any]], usage: Usage
    ) -> ContextWarning | None:
        """Note how many tokens the request had; a warning when the server left some of it out."""
        size, got, past = weight(shown, tools), usage.prompt_tokens, self.measured
        least = past.tokens + (size - past.bytes) // SPARSE if past and past.bytes <= size else size // SPARSE
        if got > least or size <= self.gauge.proved:
            if got > least:
                self.measured = Measured(size, got)
                self.gauge.density = max(self.gauge.density, got / size)
            return None
        if await self._proves(shown, size):
            return None
        tokens, _ = await self.measure(shown, tools)
        self.gauge.proved, self.gauge.learnt = PROBED, got or min(self.gauge.window, tokens) * 2 // 3
        self.measured = None
        return ContextWarning(window=self.gauge.learnt, message=needle.truncated(self.name, tokens, got))

    async def _proves(self, shown: Sequence[Message], size: int) -> bool:
        """Whether requests of this size are read whole. Twice the size is tried first: what proves that need
        not be proved again with each request, by a server that never says how much it has read."""
        longer = 2 * size
        if longer < self.gauge.unread:
            self.gauge.proved = longer
            if await needle.reads(self._answer, shown, longer):
                return True
            self.gauge.unread = longer
        self.gauge.proved = size
        return await needle.reads(self._answer, shown, size)
