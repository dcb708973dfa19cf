"""Thoughts that a server leaves in an answer's text: from <think> at its beginning up to </think>."""

from collections.abc import Iterator

from cli.protocol.messages import Reasoning

BEGIN, END = "<think>", "</think>"


class Thoughts:
    """Tells the text of one answer, as it comes, from the thoughts before it."""

    def __init__(self) -> None:
        # What may yet be a tag, or the part of one.
        self.held = ""
        self.thinking: bool | None = None
        # Line breaks between a thought and the answer belong to neither.
        self.behind = False

    def feed(self, piece: str) -> Iterator[Reasoning | str]:
        self.held += piece
        if self.thinking is None:
            self._begin()
        if self.thinking:
            yield from self._think()
        if self.thinking is False:
            text = self.held.lstrip("\n") if self.behind else self.held
            self.held, self.behind = "", self.behind and not text
            if text:
                yield text

    def rest(self) -> Iterator[Reasoning | str]:
        """What was held back, at the answer's end."""
        if self.held:
            yield Reasoning(text=self.held) if self.thinking else self.held

    def _begin(self) -> None:
        body = self.held.lstrip()
        if body.startswith(BEGIN):
            self.held, self.thinking = body.removeprefix(BEGIN), True
        elif not BEGIN.startswith(body):
            self.thinking = False

    def _think(self) -> Iterator[Reasoning]:
        thought, end, behind = self.held.partition(END)
        if end:
            self.thinking, self.behind, self.held = False, True, behind
        else:
            may = next(size for size in range(len(END) - 1, -1, -1) if thought.endswith(END[:size]))
            thought, self.held = thought[: len(thought) - may], thought[len(thought) - may :]
        if thought:
            yield Reasoning(text=thought)
