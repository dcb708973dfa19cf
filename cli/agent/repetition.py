"""Whether a turn goes in circles: a model that does the same again and again is told so, and then stopped.

A round is what the model called and what came back. Calling the same and getting something else is work
(waiting for a job, a test that passes now); calling the same and getting the same is not.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from cli.agent.execute import Ready
from cli.protocol.events import ToolDone, TurnStopped
from cli.protocol.failures import stopped

# Rounds that make a loop, by how many of them are repeated: A A A, A B A B, A B C A B C A B C.
LOOPS = {1: 3, 2: 4, 3: 9}
# Rounds in a row that bring nothing which was not there before.
STALE = 8
AGAIN = "\n(The same call gave the same result before. Do something else, or answer with what you know.)"

Round = tuple[tuple[str, str, str], ...]


@dataclass
class Repetition:
    rounds: list[Round] = field(default_factory=list)
    seen: set[tuple[str, ...]] = field(default_factory=set)
    stale: int = 0

    def judge(self, calls: Sequence[Ready], results: Sequence[ToolDone]) -> list[ToolDone]:
        """Take a round down; gives its results, with a word to the model on those that it had before."""
        now = tuple(
            (each.call.name, each.call.arguments, done.result)
            for each, done in zip(calls, results, strict=True)
        )
        # An error is nothing new because something else was tried: only another error is.
        facts = [each if done.ok else (done.result,) for each, done in zip(now, results, strict=True)]
        old = [each in self.seen for each in now]
        self.stale = 0 if any(fact not in self.seen for fact in facts) else self.stale + 1
        self.seen.update(facts, now)
        self.rounds.append(now)
        return [
            done.model_copy(update={"result": done.result + AGAIN}) if again else done
            for done, again in zip(results, old, strict=True)
        ]

    def stuck(self) -> TurnStopped | None:
        """The end of a turn that goes in circles; None while it does not."""
        for period, length in LOOPS.items():
            last = self.rounds[-length:]
            if len(last) == length and last[period:] == last[:-period]:
                names = ", ".join(dict.fromkeys(name for each in last[:period] for name, _, _ in each))
                what = f"The model repeated the same calls ({names}) and got the same results."
                return stopped("loop", what)
        if self.stale >= STALE:
            return stopped("loop", f"{STALE} rounds of tool calls brought nothing new.")
        return None
