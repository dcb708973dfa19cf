"""What every chat API asks of a history."""

from collections.abc import Sequence
from itertools import pairwise

from cli.protocol.messages import Message


def lawful(messages: Sequence[Message]) -> None:
    """Each call has an id of its own and, right behind it, one result; users and models take turns."""
    ids = [call.id for message in messages for call in message.calls]
    assert len(ids) == len(set(ids))
    waiting: list[str] = []
    for before, message in pairwise([Message(role="system", content=""), *messages]):
        if message.role == "tool":
            assert message.call in waiting
            waiting.remove(message.call)
        else:
            assert not waiting
            assert message.role != "user" or before.role != "user"
            assert message.role != "assistant" or before.role in ("user", "tool")
        waiting += [call.id for call in message.calls]
    assert not waiting
