"""Asking LMX over HTTP, for the tests beside this file."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import httpx

HELLO = [{"role": "user", "content": "hello"}]


def body(**fields: Any) -> dict[str, Any]:
    return {"messages": HELLO, "max_tokens": 12, "temperature": 0, **fields}


def post(url: str, **fields: Any) -> httpx.Response:
    return httpx.post(f"{url}/v1/chat/completions", json=body(**fields), timeout=60)


def answer(url: str, **fields: Any) -> dict[str, Any]:
    response = post(url, **fields)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def text(url: str, **fields: Any) -> str:
    content: str = answer(url, **fields)["choices"][0]["message"]["content"]
    return content


@contextmanager
def streaming(url: str, **fields: Any) -> Iterator[Iterator[dict[str, Any]]]:
    """The chunks of one streamed answer as they come; leaving early hangs up."""
    wanted = body(stream=True, **fields)
    with httpx.stream("POST", f"{url}/v1/chat/completions", json=wanted, timeout=60) as response:
        assert response.status_code == 200, response.read()
        yield chunks(response)


@contextmanager
def unanswered(url: str, **fields: Any) -> Iterator[None]:
    """A request whose answer is not waited for; leaving hangs up."""
    with closing(HTTPConnection(urlsplit(url).netloc, timeout=60)) as connection:
        told = {"Content-Type": "application/json"}
        connection.request("POST", "/v1/chat/completions", json.dumps(body(**fields)), told)
        yield


def chunks(response: httpx.Response) -> Iterator[dict[str, Any]]:
    for line in response.iter_lines():
        if line.startswith("data: {"):
            yield json.loads(line.removeprefix("data: "))


def content(found: list[dict[str, Any]]) -> str:
    deltas = [choice["delta"] for chunk in found for choice in chunk.get("choices", [])]
    return "".join(delta.get("content", "") for delta in deltas)


def status(url: str) -> dict[str, Any]:
    return dict(httpx.get(f"{url}/admin/status", timeout=30).json())


def runner(url: str) -> dict[str, Any]:
    """The only runner, as `/admin/status` tells it."""
    (found,) = status(url)["runners"]
    return dict(found)


def decoding(url: str) -> int:
    """How many answers are being made; a model that is still loaded makes none."""
    return sum(found["activity"]["decoding"] for found in status(url)["runners"])


def idle(url: str) -> bool:
    found = status(url)
    return not found["loading"] and all(map(at_rest, found["runners"]))


def at_rest(runner: dict[str, Any]) -> bool:
    activity = runner["activity"]
    return runner["in_flight"] == activity["prefilling"] == activity["decoding"] == 0
