"""The whole stack as a user has it: `opta`, the daemon, LMX, a runner and a real model, each a process."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests import processes
from tests.processes import ROOT, Role, wait_until

Event = dict[str, Any]
Events = list[Event]
Start = Callable[..., Role]
ENDINGS = ("turn.done", "turn.failed", "turn.cancelled")


@pytest.fixture
def lmx(tmp_path: Path, long_winded: Path) -> Iterator[Role]:
    role = processes.lmx(tmp_path, long_winded)
    yield role
    if not role.ended:
        role.stop()


@pytest.fixture
def daemon(start_daemon: Start, lmx: Role) -> Role:
    return start_daemon(lmx_url=lmx.url)


def opta(daemon: Role, *words: str, **kwargs: Any) -> "subprocess.Popen[bytes]":
    port = daemon.url.rpartition(":")[2]
    env = {**os.environ, "OPTA_HOME": str(daemon.home), "OPTA_DAEMON_PORT": port, "NO_COLOR": "1"}
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-m", "cli.main", *words], env=env, cwd=ROOT, **(pipes | kwargs))


def submit(daemon: Role, text: str, session: str | None = None) -> tuple[str, str]:
    """Submit a turn, in a new session unless one is named; (session, turn)."""
    with httpx.Client(base_url=daemon.url, headers=daemon.headers) as http:
        session = session or http.post("/v3/sessions", json={}).raise_for_status().json()["id"]
        turn = http.post(f"/v3/sessions/{session}/turns", json={"text": text}).raise_for_status().json()["id"]
    return session, turn


def follow(daemon: Role, session: str, after: int = 0) -> Iterator[Event]:
    """The session's stream from `after`, event by event."""
    url = f"{daemon.url}/v3/sessions/{session}/stream?after={after}"
    with httpx.stream("GET", url, headers=daemon.headers, timeout=60) as response:
        for line in response.raise_for_status().iter_lines():
            if line.startswith("data: "):
                yield json.loads(line.removeprefix("data: "))


def kind(event: Event) -> str:
    return event["event"]["type"]


def until(events: Iterator[Event], *kinds: str) -> Events:
    """The events up to and with the first of these kinds."""
    seen = []
    for event in events:
        seen.append(event)
        if kind(event) in kinds:
            return seen
    raise AssertionError(f"the stream ended without {kinds}: {[kind(event) for event in seen][-5:]}")


def stored(daemon: Role, session: str, after: int = 0) -> Events:
    url = f"{daemon.url}/v3/sessions/{session}/events?after={after}"
    return httpx.get(url, headers=daemon.headers).raise_for_status().json()["events"]


def text_of(events: Events) -> str:
    return "".join(event["event"]["text"] for event in events if kind(event) == "text.delta")


def test_opta_do_prints_tokens_as_they_come_through_all_processes(daemon: Role):
    with opta(daemon, "do", "say hello") as client:
        first = client.stdout.read(1)
        assert client.poll() is None, "the first text came when all was over: nothing streamed"
        rest = client.stdout.read()
        assert client.wait() == 0, client.stderr.read()
    session = httpx.get(f"{daemon.url}/v3/sessions", headers=daemon.headers).json()["sessions"][0]["id"]
    assert (first + rest).decode().strip() == text_of(stored(daemon, session)).strip()


def test_a_client_that_drops_mid_stream_resumes_with_nothing_lost_or_doubled(daemon: Role):
    session, _ = submit(daemon, "say hello")
    before = until(follow(daemon, session), "text.delta")
    assert kind(before[-1]) == "text.delta"
    after = until(follow(daemon, session, after=before[-1]["seq"]), *ENDINGS)
    assert kind(after[-1]) == "turn.done"
    assert before + after == stored(daemon, session)
    assert text_of(before + after) == after[-1]["event"]["text"]


def runner_pids(lmx: Role) -> list[int]:
    return [runner["pid"] for runner in runners(lmx)]


def runners(lmx: Role) -> list[dict[str, Any]]:
    return httpx.get(f"{lmx.url}/admin/status").raise_for_status().json()["runners"]


def test_a_runner_killed_mid_turn_fails_the_turn_and_the_next_one_works(daemon: Role, lmx: Role):
    session, _ = submit(daemon, "say hello")
    stream = follow(daemon, session)
    until(stream, "text.delta")
    os.kill(runner_pids(lmx)[0], signal.SIGKILL)
    failed = until(stream, *ENDINGS)[-1]
    assert (kind(failed), failed["event"]["code"]) == ("turn.failed", "runner_died")
    submit(daemon, "and again", session)
    assert kind(until(follow(daemon, session, after=failed["seq"]), *ENDINGS)[-1]) == "turn.done"


def test_lmx_killed_mid_turn_fails_the_turn_and_the_session_is_usable_when_it_is_back(
    daemon: Role, lmx: Role
):
    session, _ = submit(daemon, "say hello")
    stream = follow(daemon, session)
    until(stream, "text.delta")
    lmx.kill()
    failed = until(stream, *ENDINGS)[-1]
    assert (kind(failed), failed["event"]["code"]) == ("turn.failed", "upstream_truncated")
    submit(daemon, "is anybody there", session)
    failed = until(follow(daemon, session, after=failed["seq"]), *ENDINGS)[-1]
    assert (kind(failed), failed["event"]["code"]) == ("turn.failed", "lmx_unreachable")
    assert "opta serve" in failed["event"]["hint"]
    lmx.start("/healthz")
    submit(daemon, "and again", session)
    assert kind(until(follow(daemon, session, after=failed["seq"]), *ENDINGS)[-1]) == "turn.done"


def test_no_runner_outlives_a_killed_lmx(daemon: Role, lmx: Role):
    session, _ = submit(daemon, "say hello")
    until(follow(daemon, session), "text.delta")
    (runner,) = runner_pids(lmx)
    lmx.kill()
    wait_until(lambda: not psutil.pid_exists(runner), f"the end of runner {runner}", 10)


def test_a_daemon_killed_mid_turn_settles_the_turn_and_keeps_the_history_valid(
    start_daemon: Start, lmx: Role
):
    first = start_daemon(lmx_url=lmx.url)
    session, _ = submit(first, "say hello")
    seen = until(follow(first, session), "text.delta")
    first.kill()

    second = start_daemon(lmx_url=lmx.url, home=first.home)
    settled = stored(second, session)
    assert [kind(event) for event in settled if kind(event) in ENDINGS] == ["turn.failed"]
    assert settled[-1]["seq"] > seen[-1]["seq"], "a number that was seen is never used again"
    submit(second, "and again", session)
    done = until(follow(second, session, after=settled[-1]["seq"]), *ENDINGS)
    assert kind(done[-1]) == "turn.done"
    messages = httpx.get(f"{second.url}/v3/sessions/{session}", headers=second.headers).json()["messages"]
    roles = [message["role"] for message in messages if message["role"] != "system"]
    assert roles[-2:] == ["user", "assistant"]
    assert all(one != other for one, other in pairwise(roles)), roles


def test_a_hung_up_client_stops_the_generation(lmx: Role):
    body = {"model": "opta-tiny", "messages": [{"role": "user", "content": "go"}], "stream": True}
    with httpx.stream("POST", f"{lmx.url}/v1/chat/completions", json=body, timeout=60) as response:
        next(response.iter_lines())

    def idle() -> bool:
        return all(runner["in_flight"] == 0 for runner in runners(lmx))

    wait_until(idle, "the generation to end", 2)


def test_opta_do_with_lmx_down_says_the_url_and_how_to_start_it(start_daemon: Start):
    nowhere = f"http://127.0.0.1:{processes.free_port()}"
    with opta(start_daemon(lmx_url=nowhere), "do", "say hello") as client:
        out, err = client.communicate()
    assert client.returncode == 4
    assert out == b""
    assert nowhere in err.decode()
    assert "opta serve" in err.decode()


def test_an_interrupted_opta_do_cancels_the_turn(daemon: Role):
    with opta(daemon, "do", "say hello") as client:
        client.stdout.read(1)
        client.send_signal(signal.SIGINT)
        assert client.wait() == 130
    session = httpx.get(f"{daemon.url}/v3/sessions", headers=daemon.headers).json()["sessions"][0]["id"]
    wait_until(lambda: kind(stored(daemon, session)[-1]) == "turn.cancelled", "the turn to be cancelled", 5)
