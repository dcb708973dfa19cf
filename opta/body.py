"""How large a request's body may be, watched as it comes in: Django reads it whole before any middleware."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from opta.errors import Refusal

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

MEGABYTE = 1024 * 1024
LIMIT = 10 * MEGABYTE
# A refused body is read up to here before the answer: a client that is still sending would not see it.
DRAIN = 64 * MEGABYTE


class BodyTooLarge(Refusal):
    status = 413
    code = "body_too_large"

    def __init__(self) -> None:
        super().__init__(f"The request body is larger than {LIMIT // MEGABYTE} MB.")


def limited(receive: Receive) -> Receive:
    """`receive` that raises BodyTooLarge once the body is over the limit, before more of it is kept."""
    size = 0

    async def counted() -> MutableMapping[str, Any]:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > LIMIT:
            raise BodyTooLarge
        return message

    return counted


async def drain(receive: Receive) -> None:
    """Read the rest of a body that nobody wants."""
    size, more = 0, True
    while more and size < DRAIN:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
