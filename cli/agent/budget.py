"""How far one turn may go, and how far it has gone."""

from dataclasses import dataclass, field
from time import monotonic

from cli.protocol.events import TurnStopped, Usage
from cli.protocol.failures import stopped

# Rounds in a row in which nothing was allowed, at which a turn ends: the model will not find a way.
REFUSED = 3


@dataclass(frozen=True)
class Budget:
    """The limits of one turn; None is no limit. Tokens are those read and those written."""

    rounds: int = 100
    calls: int = 500
    tokens: int | None = None
    seconds: float | None = None


@dataclass
class Spent:
    """What one turn has used; every round adds to it."""

    budget: Budget
    rounds: int = 0
    calls: int = 0
    # Rounds in a row in which nothing was allowed, and why not.
    refused: list[str] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    started: float = field(default_factory=monotonic)

    @property
    def seconds(self) -> float:
        return monotonic() - self.started

    def left(self) -> float | None:
        """Seconds until the time is over; None when there is no limit."""
        return None if self.budget.seconds is None else max(0.0, self.budget.seconds - self.seconds)

    def pause(self, seconds: float) -> None:
        """Count no time in which somebody was asked for permission."""
        self.started += seconds

    def add(self, usage: Usage) -> None:
        self.usage += usage

    def over(self, calls: int) -> TurnStopped | None:
        """Why the turn ends before so many more calls run; None to go on."""
        budget, tokens = self.budget, self.usage.prompt_tokens + self.usage.completion_tokens
        self.calls += calls
        if self.calls > budget.calls:
            return stopped("budget", f"The turn has used the {budget.calls} tool calls that it may make.")
        if budget.tokens is not None and tokens >= budget.tokens:
            message = f"The turn has used {tokens} tokens of the {budget.tokens} that it may use."
            return stopped("budget", message)
        return self.late()

    def unwanted(self) -> TurnStopped | None:
        """The end of a turn in which nothing is allowed; None while something is."""
        if len(self.refused) < REFUSED:
            return None
        return stopped("permission", f"Nothing was allowed, {REFUSED} times in a row. {self.refused[-1]}")

    def last(self) -> TurnStopped | None:
        """Why the model is not asked once more; None when it is."""
        self.rounds += 1
        if self.rounds < self.budget.rounds:
            return self.late()
        message = f"The model was asked {self.rounds} times without coming to an end."
        return stopped("max_turns", message)

    def late(self) -> TurnStopped | None:
        if self.left() != 0:
            return None
        return stopped("budget", f"The turn has run for the {self.budget.seconds:g} s that it may take.")
