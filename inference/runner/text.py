"""Text up to a stop string, of which never a part goes out."""


class Stops:
    """Lets text through up to the stop string that is complete first; holds back what may begin one.

    How the text is cut into chunks changes nothing: `test_text.py` tries every cut.
    """

    def __init__(self, stops: list[str]) -> None:
        self.stops = stops
        self.held = ""
        # The stop string that ended the text.
        self.stopped: str | None = None

    def feed(self, text: str) -> str:
        """The text that may go out now; once `stopped` is set it is the last."""
        if not self.stops:
            return text
        text = self.held + text
        ends = [(at + len(stop), at, stop) for stop in self.stops if (at := text.find(stop)) >= 0]
        if ends:
            _, at, self.stopped = min(ends)
            self.held = ""
            return text[:at]
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
