"""What sessions have read of files: a change to anything else would be made blind."""

from collections import OrderedDict
from pathlib import Path
from threading import Lock

# What is forgotten beyond this is read again.
REMEMBERED_BYTES = 64_000_000


class Seen:
    """The bytes of files as each session last saw them. It lives as long as the daemon."""

    def __init__(self, limit: int = REMEMBERED_BYTES) -> None:
        self.limit = limit
        self.size = 0
        self.files: OrderedDict[tuple[str, Path], bytes] = OrderedDict()
        self.lock = Lock()
        # Held while files are changed: nobody changes what another one has just looked at.
        self.writing = Lock()

    def get(self, session: str, file: Path) -> bytes | None:
        with self.lock:
            return self.files.get((session, file))

    def note(self, session: str, file: Path, data: bytes | None) -> None:
        """The session knows the file as `data`; None when it is gone."""
        with self.lock:
            self.size -= len(self.files.pop((session, file), b""))
            if data is None:
                return
            self.files[session, file] = data
            self.size += len(data)
            while self.size > self.limit:
                self.size -= len(self.files.popitem(last=False)[1])
