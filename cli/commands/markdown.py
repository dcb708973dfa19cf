"""Markdown that grows on a terminal: what is finished is printed for good, only the open block is redrawn."""

from time import monotonic

from rich.console import Console
from rich.live import Live
from rich.markdown import Heading, Markdown
from rich.segment import Segment, Segments
from rich.text import Text

Line = list[Segment]
BLANK: Line = []
# A long block of code takes 50 ms to draw: draw for a fifth of the time, and rest for four.
REST = 4.0
# Characters of passing text that are drawn at most: more than a screen has.
PASSING = 8000


class LeftHeading(Heading):
    """A heading where one begins to read."""

    LEVEL_ALIGN = {**Heading.LEVEL_ALIGN, "h1": "left"}


class Page(Markdown):
    """Markdown in the terminal's own colours, on light and dark grounds."""

    elements = {**Markdown.elements, "heading_open": LeftHeading}

    def __init__(self, text: str) -> None:
        super().__init__(text, code_theme="ansi_dark")


def blocks(text: str) -> tuple[list[str], str]:
    """The top-level blocks that are complete, and the last one, which more text may still change."""
    starts = [token.map[0] for token in Markdown(text).parsed if token.level == 0 and token.map]
    lines = text.split("\n")
    cuts = sorted({0, *starts[1:]})
    parts = ["\n".join(lines[start:end]) for start, end in zip(cuts, [*cuts[1:], None], strict=True)]
    return [f"{part}\n" for part in parts[:-1]], parts[-1]


class LiveMarkdown:
    """Feed it text. Every finished block, and what scrolled off, is ordinary output and stays."""

    def __init__(self, console: Console, rest: float = REST) -> None:
        self.console = console
        self.rest = rest
        self.live = Live(console=console, auto_refresh=False, transient=True)
        self.open = ""
        # How many lines of the open block are printed for good, because it is taller than the screen.
        self.settled = 0
        self.first = True
        self.due = 0.0

    def __enter__(self) -> "LiveMarkdown":
        self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self.live.stop()

    def add(self, text: str) -> None:
        """Take more text, and show it unless drawing took too much of the time lately: then with the next."""
        if not text:
            return
        self.open += text
        began = monotonic()
        if began >= self.due:
            self.advance()
            self.draw()
            self.due = monotonic() + self.rest * (monotonic() - began)

    def passing(self, text: str) -> None:
        """Dim text below what was said, until something else is; of a long one the end."""
        self.close()
        began = monotonic()
        if began >= self.due:
            lines = self.console.render_lines(Text(text[-PASSING:], style="dim"), pad=False)
            self.live.update(joined(lines[-(self.console.height - 2) :]), refresh=True)
            self.due = monotonic() + self.rest * (monotonic() - began)

    def aside(self, text: str) -> None:
        """A line that is not the model's, below what it said so far."""
        self.close()
        self.live.update("")  # what passed is over
        self.console.print(text, style="dim")

    def close(self) -> None:
        """The open block is finished too."""
        self.advance()
        self.settle(self.open)
        self.open = ""

    def advance(self) -> None:
        """Settle the blocks that are complete."""
        finished, self.open = blocks(self.open)
        for block in finished:
            self.settle(block)

    def settle(self, block: str) -> None:
        """Print what is not yet printed of a block that will not change any more."""
        if not block.strip():
            return
        self.live.update("")
        self.print(self.lines(block)[self.settled :])
        self.settled, self.first = 0, False

    def draw(self) -> None:
        """Show the open block's end, and print for good the lines above that no screen could show."""
        lines = self.lines(self.open)
        hidden = max(0, len(lines) - self.settled - (self.console.height - 2))
        self.print(lines[self.settled : self.settled + hidden])
        self.settled += hidden
        self.live.update(joined(lines[self.settled :]), refresh=True)

    def lines(self, block: str) -> list[Line]:
        """The block as it looks, one blank line before all but the first."""
        drawn = self.console.render_lines(Page(block), pad=False)
        while drawn and blank(drawn[0]):
            del drawn[0]
        while drawn and blank(drawn[-1]):
            del drawn[-1]
        return drawn if self.first else [BLANK, *drawn]

    def print(self, lines: list[Line]) -> None:
        if lines:
            self.console.print(joined(lines), end="")


def blank(line: Line) -> bool:
    return not any(segment.text.strip() for segment in line)


def joined(lines: list[Line]) -> Segments:
    return Segments([segment for line in lines for segment in (*line, Segment.line())])
