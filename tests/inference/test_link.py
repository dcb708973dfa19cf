"""Frames between front and runner."""

import asyncio

import msgspec
import pytest

from inference.request import Cancel, Chat, Finish, Generate, Message, Text
from inference.runner import link


def reader(data: bytes) -> asyncio.StreamReader:
    made = asyncio.StreamReader()
    made.feed_data(data)
    made.feed_eof()
    return made


async def test_frames_come_back_in_order_however_they_were_cut():
    commands = [Generate(1, Chat([Message("user", "né")]), stop=["x"]), Cancel(1)]
    both = reader(link.frame(commands) + link.frame([Cancel(2)]))
    assert await link.receive(both, link.Commands) == commands
    assert await link.receive(both, link.Commands) == [Cancel(2)]
    assert await link.receive(both, link.Commands) is None


async def test_one_frame_holds_a_steps_events():
    events = [Text(1, "a"), Text(2, "b"), Finish(2, 3, 2, 1)]
    assert await link.receive(reader(link.frame(events)), link.Events) == events


@pytest.mark.parametrize("cut", [1, 4, 9])
async def test_a_peer_that_dies_in_the_middle_of_a_frame_is_gone(cut: int):
    assert await link.receive(reader(link.frame([Text(1, "text")])[:cut]), link.Events) is None


@pytest.mark.parametrize("garbage", [b"\xff\xff\xff\xff", b"\0\0\0\2\xc1\xc1", b"\0\0\0\1\x01"])
async def test_garbage_is_told_from_an_end(garbage: bytes):
    with pytest.raises(msgspec.DecodeError):
        await link.receive(reader(garbage), link.Events)
