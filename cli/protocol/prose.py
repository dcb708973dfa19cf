"""A turn's text, put together from its events."""

from cli.protocol.events import AnyBody, TextDelta, TextDone


class Prose:
    """A turn's text. Deltas may be gone when a stream is resumed late; `text.done` fills what is missing."""

    def __init__(self) -> None:
        self.message = ""
        self.messages = 0

    def feed(self, body: AnyBody) -> str:
        """What `body` adds to the text shown so far."""
        if isinstance(body, TextDelta):
            gap = "\n\n" if self.messages and not self.message else ""
            self.message += body.text
            return gap + body.text
        if isinstance(body, TextDone):
            # After a crash the stored text is shorter than what was shown: then nothing is missing.
            missing = "" if self.message.startswith(body.text) else body.text.removeprefix(self.message)
            gap = "\n\n" if self.messages and not self.message and missing else ""
            self.message = ""
            self.messages += 1
            return gap + missing
        return ""
