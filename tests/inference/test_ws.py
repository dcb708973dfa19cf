"""Several chats on one socket."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from inference.api.websocket import MOST, PATH
from tests.inference import chat
from tests.processes import Role, wait_until


@contextmanager
def socket(lmx: Role, path: str = PATH, **options: Any) -> Iterator[ClientConnection]:
    with connect(lmx.url.replace("http", "ws", 1) + path, proxy=None, **options) as opened:
        yield opened


def ask(opened: ClientConnection, id: str, **fields: Any) -> None:
    opened.send(json.dumps({"type": "chat.request", "id": id, "body": chat.body(**fields)}))


def cancel(opened: ClientConnection, id: str) -> None:
    opened.send(json.dumps({"type": "chat.cancel", "id": id}))


def heard(opened: ClientConnection) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(opened.recv(timeout=30))
    return found


def until_done(opened: ClientConnection, *ids: str) -> dict[str, list[dict[str, Any]]]:
    """What is said until each of these chats is over, by id."""
    said: dict[str, list[dict[str, Any]]] = {id: [] for id in ids}
    open_ids = set(ids)
    while open_ids:
        message = heard(opened)
        said[message["id"]].append(message)
        if message["type"] in ("chat.done", "chat.error"):
            open_ids.remove(message["id"])
    return said


def text(messages: list[dict[str, Any]]) -> str:
    return "".join(message.get("text", "") for message in messages)


def test_chats_on_one_socket_say_what_they_say_over_http(lmx: Role):
    questions = {f"q{number}": [{"role": "user", "content": f"question {number}"}] for number in range(4)}
    with socket(lmx) as opened:
        for id, messages in questions.items():
            ask(opened, id, messages=messages)
        said = until_done(opened, *questions)
        # The ids are free again.
        ask(opened, "q0", messages=questions["q0"], n=2, seed=1, temperature=1)
        again = until_done(opened, "q0")["q0"]
    for id, messages in questions.items():
        first, *_, last = said[id]
        assert (first["type"], first["model"]) == ("chat.accepted", "opta-tiny")
        assert text(said[id]) == chat.text(lmx.url, messages=messages)
        assert last["choices"] == [{"index": 0, "finish_reason": "length"}]
        assert last["usage"]["prompt_tokens"] == first["prompt_tokens"]
        assert last["usage"]["completion_tokens"] == 12
    assert {message["choice"] for message in again if message["type"] == "chat.delta"} == {0, 1}
    assert len(again[-1]["choices"]) == 2


def test_log_probabilities_come_with_their_text(lmx: Role):
    with socket(lmx) as opened:
        ask(opened, "a", logprobs=True, top_logprobs=1)
        deltas = [one for one in until_done(opened, "a")["a"] if one["type"] == "chat.delta"]
    assert sum(len(delta["logprobs"]["content"]) for delta in deltas) == 12


def test_a_cancelled_chat_ends_and_its_neighbour_goes_on(lmx: Role):
    expected = chat.text(lmx.url, max_tokens=60)
    with socket(lmx) as opened:
        ask(opened, "long", max_tokens=8000)
        assert heard(opened)["type"] == "chat.accepted"
        ask(opened, "short", max_tokens=60)
        cancel(opened, "long")
        said = until_done(opened, "long", "short")
        assert said["long"][-1] == {"type": "chat.done", "id": "long", "choices": [], "usage": None}
        assert text(said["short"]) == expected
        cancel(opened, "long")
        assert heard(opened)["error"]["code"] == "not_running"
    wait_until(lambda: chat.idle(lmx.url), "the sequences to leave the batch", 5)


def test_a_killed_runner_ends_its_chats_with_the_reason_and_the_socket_serves_on(
    models: Path, start_lmx: Callable[..., Role]
):
    lmx = start_lmx(LMX_MODELS=str(models))
    chat.text(lmx.url)
    with socket(lmx) as opened:
        for id in ("a", "b"):
            ask(opened, id, max_tokens=5000)
        while heard(opened)["type"] != "chat.delta":
            pass
        os.kill(chat.runner(lmx.url)["pid"], signal.SIGKILL)
        said = until_done(opened, "a", "b")
        ask(opened, "a", max_tokens=4)
        again = until_done(opened, "a")["a"][-1]
    assert {(said[id][-1]["status"], said[id][-1]["error"]["code"]) for id in said} == {(500, "runner_died")}
    assert again["type"] == "chat.done"


def test_hanging_up_ends_every_chat(lmx: Role):
    with socket(lmx) as opened:
        for id in "abc":
            ask(opened, id, max_tokens=8000)
        while heard(opened)["type"] != "chat.delta":
            pass
    wait_until(lambda: chat.idle(lmx.url), "the sequences to leave the batch", 5)


REFUSED: dict[str, tuple[dict[str, Any] | list[Any] | str, str | None]] = {
    "no json": ("hello", None),
    "no object": ([], None),
    "no type": ({"id": "x"}, None),
    "an unknown type": ({"type": "chat.sing", "id": "x"}, None),
    "no id": ({"type": "chat.cancel"}, "id"),
    "an empty id": ({"type": "chat.cancel", "id": ""}, "id"),
    "no body": ({"type": "chat.request", "id": "x"}, "body"),
    "an unknown field": ({"type": "chat.request", "id": "x", "body": chat.body(mood=1)}, "body.mood"),
    "no stream": ({"type": "chat.request", "id": "x", "body": chat.body(stream=False)}, "body"),
    "an unknown model": ({"type": "chat.request", "id": "x", "body": chat.body(model="no")}, "model"),
}


def test_what_is_refused_is_named_and_the_socket_stays_open(lmx: Role):
    with socket(lmx) as opened:
        for case, (message, field) in REFUSED.items():
            opened.send(message if isinstance(message, str) else json.dumps(message))
            answered = heard(opened)
            assert (answered["type"], case) == ("chat.error", case)
            assert field is None or answered["error"]["param"] == field
            assert 400 <= answered["status"] < 500
        opened.send(b"\x00")
        assert heard(opened)["type"] == "chat.error"
        ask(opened, "fine")
        assert until_done(opened, "fine")["fine"][-1]["type"] == "chat.done"


def test_an_id_is_one_chats_alone_while_it_runs(lmx: Role):
    with socket(lmx) as opened:
        ask(opened, "a", max_tokens=8000)
        assert heard(opened)["type"] == "chat.accepted"
        ask(opened, "a")
        while (found := heard(opened))["type"] != "chat.error":
            assert found["id"] == "a"
        assert (found["id"], found["error"]["param"]) == ("a", "id")


def test_one_socket_holds_so_many_chats_and_no_more(lmx: Role):
    with socket(lmx) as opened:
        for number in range(MOST + 1):
            ask(opened, str(number), max_tokens=8000)
        while (found := heard(opened))["type"] != "chat.error":
            pass
        assert (found["id"], found["status"]) == (str(MOST), 429)
    wait_until(lambda: chat.idle(lmx.url), "the sequences to leave the batch", 10)


@pytest.mark.parametrize(
    ("headers", "path", "status"),
    [
        ({"Host": "evil.example"}, PATH, 403),
        ({"Origin": "https://evil.example"}, PATH, 403),
        ({"X-Priority": "urgent"}, PATH, 400),
        ({}, "/v1/nowhere", 404),
    ],
)
def test_a_stranger_is_turned_away_before_the_socket_opens(
    lmx: Role, headers: dict[str, str], path: str, status: int
):
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    refused = httpx.get(lmx.url + path, headers={**upgrade, **headers})
    assert refused.status_code == status
    assert refused.json()["error"]["message"]


def test_a_frame_beyond_ten_megabytes_closes_the_socket(lmx: Role):
    with socket(lmx) as opened, pytest.raises(ConnectionClosed) as closed:
        opened.send("x" * (10 * 1024 * 1024 + 1))
        opened.recv(timeout=30)
    assert closed.value.rcvd
    assert closed.value.rcvd.code == 1009
    assert chat.text(lmx.url)
