"""Many at once, over HTTP: who waits, who is refused, and what hanging up ends."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from tests.inference import chat
from tests.processes import Role, wait_until

# What the tiny model's context has room for beside an answer, and takes seconds to read.
LONG = 4000
ROWS = 32


def long(beginning: str) -> list[dict[str, str]]:
    """A prompt of about LONG tokens that no cache knows."""
    return [{"role": "user", "content": beginning + " the" * LONG}]


def activity(url: str) -> dict[str, Any]:
    found: dict[str, Any] = chat.runner(url)["activity"]
    return found


def counts(url: str) -> tuple[int, int, int]:
    """Who waits, whose prompts are read, and who decodes."""
    found = activity(url)
    return found["queued"], found["prefilling"], found["decoding"]


def test_a_short_request_is_answered_while_a_long_prompt_is_read(lmx: Role):
    chat.text(lmx.url)
    with ExitStack() as streams:
        asked = [
            streams.enter_context(chat.streaming(lmx.url, messages=long(f"long {number}"), max_tokens=8))
            for number in range(4)
        ]
        for chunks in asked:
            next(chunks)
        chat.text(lmx.url, max_tokens=4)
        queued, reading, _ = counts(lmx.url)
        assert queued + reading >= 1


def test_hanging_up_ends_the_reading_of_a_prompt(lmx: Role):
    chat.text(lmx.url)
    with chat.streaming(lmx.url, messages=long("hang up")) as chunks:
        next(chunks)
        assert counts(lmx.url)[1] == 1
    wait_until(lambda: counts(lmx.url) == (0, 0, 0), "the hung-up prompt to be gone")
    # What was read of it is kept, and it was not all: it ended in the middle.
    cached = chat.answer(lmx.url, messages=long("hang up"), max_tokens=1)["usage"]
    assert 0 < cached["prompt_tokens_details"]["cached_tokens"] < LONG


@pytest.fixture
def full(start_lmx: Callable[..., Role]) -> Iterator[Role]:
    """A model all of whose rows are taken, by one client, for as long as the test takes."""
    lmx = start_lmx(LMX_QUEUE="2")
    chat.text(lmx.url)
    with ExitStack() as streams:
        held = [
            streams.enter_context(chat.streaming(lmx.url, n=8, max_tokens=8000)) for _ in range(ROWS // 8)
        ]
        wait_until(lambda: counts(lmx.url) == (0, 0, ROWS), "every row to be taken")
        yield lmx
        assert len(held) == ROWS // 8


def test_a_full_queue_is_429_and_says_when_to_ask_again(full: Role):
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(chat.post, full.url, max_tokens=1)
        wait_until(lambda: counts(full.url)[0] == 1, "a request to wait")
        refused = chat.post(full.url)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "queue_full")
        assert int(refused.headers["Retry-After"]) >= 1
        # Another client has a place yet.
        headers = {"Authorization": "Bearer another"}
        other = threads.submit(
            httpx.post, f"{full.url}/v1/chat/completions", json=chat.body(max_tokens=1), headers=headers
        )
        wait_until(lambda: counts(full.url)[0] == 2, "both to wait")
        full.stop()
        assert {waiting.result().status_code, other.result().status_code} == {503}


def test_hanging_up_gives_up_a_place_in_the_queue(full: Role):
    with chat.unanswered(full.url):
        wait_until(lambda: counts(full.url)[0] == 1, "it to wait")
    wait_until(lambda: counts(full.url) == (0, 0, ROWS), "its place to be free")


def test_a_priority_that_is_none_is_refused_by_its_name(lmx: Role):
    url = f"{lmx.url}/v1/chat/completions"
    refused = httpx.post(url, json=chat.body(), headers={"X-Priority": "urgent"})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "X-Priority")
    taken = httpx.post(url, json=chat.body(), headers={"X-Priority": "batch"}, timeout=60)
    assert taken.status_code == 200
