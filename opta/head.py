"""How long the head of a request may be: uvicorn would keep all that is sent, before it is known by whom."""

import math

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LIMIT = 64 * 1024


class Protocol(HttpToolsProtocol):
    """HTTP as uvicorn reads it, up to LIMIT (and what came with the byte above it)."""

    # How much came of the head that is being read; behind it no number is over the limit.
    head = 0.0

    def data_received(self, data: bytes) -> None:
        self.head += len(data)
        super().data_received(data)
        if self.head > LIMIT and not self.transport.is_closing():
            self.send_400_response(f"The head of a request is longer than {LIMIT // 1024} KB.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.head = 0.0

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self.head = -math.inf
