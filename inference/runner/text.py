"""Tokens to text: characters only when they are whole, and never a part of a stop string."""

from typing import Protocol


class Detokenizer(Protocol):
    """mlx_lm's streaming detokenizer."""

    @property
    def last_segment(self) -> str: ...
    def add_token(self, token: int) -> None: ...
    def finalize(self) -> None: ...


class Stops:
    """Lets text through up to the stop string that is complete first; holds back what may begin one.

    How the text is cut into chunks changes nothing: `test_text.py` tries every cut.
    """

    def __init__(self, stops: list[str]) -> None:
        self.stops = stops
        self.held = ""
        self.stopped = False

    def feed(self, text: str) -> str:
        """The text that may go out now; `stopped` says whether it is the last."""
        if not self.stops:
            return text
        text = self.held + text
        ends = [(at + len(stop), at) for stop in self.stops if (at := text.find(stop)) >= 0]
        if ends:
            self.stopped, self.held = True, ""
            return text[: min(ends)[1]]
        keep = self.possible(text)
        self.held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def possible(self, text: str) -> int:
        """How many characters at the end of `text` may be the beginning of a stop string."""
        longest = min(max(map(len, self.stops)) - 1, len(text))
        sizes = range(longest, 0, -1)
        return next((n for n in sizes if any(stop.startswith(text[-n:]) for stop in self.stops)), 0)

    def flush(self) -> str:
        """What was held back, now that nothing follows."""
        text, self.held = self.held, ""
        return text


class Answer:
    """The text of one answer as it grows."""

    def __init__(self, detokenizer: Detokenizer, stops: list[str], prompt_tokens: int) -> None:
        self.detokenizer = detokenizer
        self.stops = Stops(stops)
        self.prompt_tokens = prompt_tokens
        self.completion_tokens = 0

    @property
    def stopped(self) -> bool:
        return self.stops.stopped

    def add(self, token: int, *, silent: bool) -> str:
        """Count one token; its text, unless it is a `silent` one, which ends the answer unseen."""
        self.completion_tokens += 1
        if silent:
            return ""
        self.detokenizer.add_token(token)
        return self.stops.feed(self.detokenizer.last_segment)

    def end(self) -> str:
        """The rest of the text, after the last token."""
        if self.stopped:
            return ""
        self.detokenizer.finalize()
        rest = self.stops.feed(self.detokenizer.last_segment)
        return rest if self.stopped else rest + self.stops.flush()
