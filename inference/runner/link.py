"""Frames over the socket between the front and a runner: four bytes of length, then msgpack.

A frame holds a list of messages: all that one step of the engine brought travels in one write.
"""

from asyncio import IncompleteReadError, StreamReader, StreamWriter
from collections.abc import Sequence
from typing import TypeVar

import msgspec

from inference.request import Command, Event

LENGTH = 4
# Far above any request the front lets in: a length beyond it means the stream is out of step.
LARGEST = 64 * 1024 * 1024

Commands = msgspec.msgpack.Decoder(list[Command])
Events = msgspec.msgpack.Decoder(list[Event])
Messages = TypeVar("Messages")
encoder = msgspec.msgpack.Encoder()


def frame(messages: Sequence[Command] | Sequence[Event]) -> bytes:
    body = encoder.encode(messages)
    return len(body).to_bytes(LENGTH) + body


def send(writer: StreamWriter, messages: Sequence[Command] | Sequence[Event]) -> None:
    """Queue one frame; to a peer that is gone it is dropped, and the reader sees the end."""
    if messages and not writer.is_closing():
        writer.write(frame(messages))


async def receive(reader: StreamReader, decoder: msgspec.msgpack.Decoder[Messages]) -> Messages | None:
    """The next frame's messages, or None when the peer is gone. Raises msgspec.DecodeError on garbage."""
    try:
        length = int.from_bytes(await reader.readexactly(LENGTH))
        if length > LARGEST:
            raise msgspec.DecodeError(f"a frame of {length} bytes")
        return decoder.decode(await reader.readexactly(length))
    except (IncompleteReadError, ConnectionError):
        return None
