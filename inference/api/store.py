"""Answers of /v1/responses that are kept for the next turn: in memory, bounded, in the order of their use."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from inference.request import Message
from opta.errors import Refusal

Messages = msgspec.msgpack.Decoder(list[Message])


class Kept(NamedTuple):
    """An answer as JSON, and the conversation up to and with it as msgpack: bytes have a known size."""

    response: bytes
    conversation: bytes

    @property
    def size(self) -> int:
        return len(self.response) + len(self.conversation)

    @property
    def messages(self) -> list[Message]:
        return Messages.decode(self.conversation)


@dataclass
class Store:
    """What is over `count` answers or `limit` bytes is forgotten, the one that was used longest ago first."""

    count: int = 1000
    limit: int = 64 * 1024 * 1024
    size: int = 0
    kept: OrderedDict[str, Kept] = field(default_factory=OrderedDict)

    def put(self, id: str, response: object, conversation: list[Message]) -> None:
        kept = Kept(msgspec.json.encode(response), msgspec.msgpack.encode(conversation))
        self.kept[id] = kept
        self.size += kept.size
        while len(self.kept) > self.count or self.size > self.limit:
            _, forgotten = self.kept.popitem(last=False)
            self.size -= forgotten.size

    def get(self, id: str, name: str = "response_id") -> Kept:
        """Raises Refusal, of the request's field `name`, for one that is not kept."""
        if id not in self.kept:
            message = f"No response {id!r} is kept here. It was not stored, or was forgotten for newer ones."
            raise Refusal(message, status=404, code="response_not_found", field=name)
        self.kept.move_to_end(id)
        return self.kept[id]

    def delete(self, id: str) -> None:
        self.size -= self.get(id).size
        del self.kept[id]
