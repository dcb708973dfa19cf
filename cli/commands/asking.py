"""A call that waits to be allowed: shown whole, answered by one key, here or by whoever answers first."""

import contextlib
import json
import os
import select
import sys
import termios
import threading
from collections.abc import Callable, Iterator

from cli.output import Failure
from cli.protocol.events import PermissionRequest, PermissionResolved
from cli.protocol.socket import Decision, Remember

# Characters of a call that are shown: more than a person reads before a key.
SHOWN = 4000

Answer = Callable[[str, Decision, Remember], None]


class Asking:
    """The questions of one turn. `answer` is called on a thread, with the id of one and what was chosen."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        # What ends each question: its keys are an answer from the moment it is shown until then.
        self.open: dict[str, contextlib.ExitStack] = {}

    def ask(self, request: PermissionRequest) -> list[str]:
        """Begin to listen to the keyboard; what to show."""
        reading, ending = os.pipe()
        chosen = choices(request)
        thread = threading.Thread(target=self._listen, args=(request.id, chosen, reading), daemon=True)
        ends = self.open[request.id] = contextlib.ExitStack()
        ends.enter_context(single_keys())
        ends.callback(thread.join)
        ends.callback(os.close, ending)
        thread.start()
        keys = " · ".join(f"{key} {words}" for key, (*_, words) in chosen.items())
        return [f"? {shown(request)}", f"  {request.reason}", f"  {keys}"]

    def resolved(self, body: PermissionResolved) -> str:
        """Listen no longer; what to show."""
        self._end(body.id)
        if body.decision == "deny":
            return "· not allowed"
        return "· allowed" + {"once": "", "session": " for this session", "always": " always"}[body.remember]

    def close(self) -> None:
        for id in list(self.open):
            self._end(id)

    def _end(self, id: str) -> None:
        if ends := self.open.pop(id, None):
            ends.close()

    def _listen(self, id: str, chosen: dict[str, tuple[Decision, Remember, str]], ended: int) -> None:
        with os.fdopen(ended):
            while True:
                ready, _, _ = select.select([sys.stdin, ended], [], [])
                if ended in ready or not (key := os.read(sys.stdin.fileno(), 1)):
                    return
                if found := chosen.get(key.decode(errors="replace").lower()):
                    # Somebody else was first; or the daemon is gone, which whoever follows the turn says.
                    with contextlib.suppress(Failure):
                        self.answer(id, found[0], found[1])
                    return


def choices(request: PermissionRequest) -> dict[str, tuple[Decision, Remember, str]]:
    """The keys, with what each decides and its words: the rule that is kept is the one that is shown."""
    found: dict[str, tuple[Decision, Remember, str]] = {"y": ("allow", "once", "yes, once")}
    if request.pattern:
        found["s"] = ("allow", "session", f"{request.pattern} in this session")
        found["a"] = ("allow", "always", "always and everywhere")
    return {**found, "n": ("deny", "once", "no")}


def shown(request: PermissionRequest) -> str:
    words = (f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in request.arguments.items())
    line = " ".join([request.name, *words])
    return line if len(line) <= SHOWN else f"{line[:SHOWN]}… ({len(line) - SHOWN} characters more)"


@contextlib.contextmanager
def single_keys() -> Iterator[None]:
    """Each key counts by itself. What was typed before is no answer, and is dropped."""
    before = termios.tcgetattr(sys.stdin)
    raw = [*before]
    raw[3] &= ~(termios.ICANON | termios.ECHO)
    termios.tcsetattr(sys.stdin, termios.TCSAFLUSH, raw)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)
