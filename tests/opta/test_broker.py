"""The folder that carries messages where there is no Redis."""

import threading
from pathlib import Path

from kombu import Connection

from opta.broker import Folder

MESSAGES, READERS = 400, 3


def connect(folder: Path) -> Connection:
    """A connection to a folder; the queue has its name, for Kombu remembers queues by name."""
    place = {
        "data_folder_in": str(folder),
        "data_folder_out": str(folder),
        "control_folder": str(folder / "c"),
    }
    return Connection("filesystem://localhost", transport=Folder, transport_options=place)


def write(folder: Path) -> None:
    with connect(folder) as connection, connection.SimpleQueue(folder.name) as queue:
        for number in range(MESSAGES):
            queue.put({"number": number, "text": "é" * 2000})


def read(folder: Path, got: list[int]) -> None:
    with connect(folder) as connection, connection.SimpleQueue(folder.name) as queue:
        while True:
            message = queue.get(timeout=60)
            message.ack()
            if message.payload["number"] is None:
                return
            assert message.payload["text"] == "é" * 2000
            got.append(message.payload["number"])


def test_every_message_is_read_once_and_whole_by_one_of_many(tmp_path: Path):
    got: list[int] = []
    readers = [threading.Thread(target=read, args=(tmp_path, got)) for _ in range(READERS)]
    # Made before anyone writes, as the worker does: Kombu drops what is sent while it binds a queue.
    with connect(tmp_path) as connection, connection.SimpleQueue(tmp_path.name) as queue:
        for reader in readers:
            reader.start()
        write(tmp_path)
        for _ in readers:
            queue.put({"number": None, "text": ""})
    for reader in readers:
        reader.join(timeout=60)
    assert sorted(got) == list(range(MESSAGES))
    assert list(tmp_path.glob("*.*")) == []


def test_what_is_no_message_is_left_aside_and_said(tmp_path: Path, caplog):
    (tmp_path / f"0_torn.{tmp_path.name}.msg").write_text('{"body": "half')
    write(tmp_path)
    with connect(tmp_path) as connection, connection.SimpleQueue(tmp_path.name) as queue:
        message = queue.get(timeout=5)
        message.ack()
    assert message.payload["number"] == 0
    assert "0_torn" in caplog.text


def test_messages_are_read_in_the_order_they_were_written(tmp_path: Path):
    write(tmp_path)
    with connect(tmp_path) as connection, connection.SimpleQueue(tmp_path.name) as queue:
        messages = [queue.get(timeout=5) for _ in range(50)]
        for message in messages:
            message.ack()
    assert [message.payload["number"] for message in messages] == list(range(50))
