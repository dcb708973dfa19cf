"""What the daemon sends, as the client reads it: one real daemon, the real client, nothing between."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cli.clients.daemon import Address, Daemon, Refused, new_id
from cli.output import Failure
from cli.protocol.events import TextDelta, TextDone, TurnCancelled, TurnDone, TurnFailed, TurnQueued
from tests.processes import Role, free_port

Start = Callable[..., Role]


def client(daemon: Role) -> Daemon:
    """A client that finds this daemon by its files, as often as it has to."""
    return Daemon(lambda: Address(daemon.url, daemon.token))


@pytest.fixture
def alone(start_daemon: Start) -> Role:
    """A daemon without an LMX."""
    return start_daemon(lmx_url=f"http://127.0.0.1:{free_port()}")


def test_a_session_is_made_listed_and_read(alone: Role, tmp_path: Path) -> None:
    daemon = client(alone)
    made = daemon.create(cwd=str(tmp_path), model="some", system="Be brief.")
    assert [session.id for session in daemon.sessions()] == [made.id]
    detail = daemon.session(made.id)
    assert (detail.cwd, detail.model, detail.system) == (str(tmp_path), "some", "Be brief.")
    assert daemon.resolve(made.id[:6]) == made.id


def test_a_refusal_keeps_its_status_reason_and_words(alone: Role) -> None:
    with pytest.raises(Refused, match="nowhere") as caught:
        client(alone).session("nowhere")
    assert (caught.value.status, caught.value.reason) == (404, "unknown_session")


def test_what_breaks_the_protocol_is_refused_before_it_is_sent(alone: Role) -> None:
    with pytest.raises(Failure, match="text"):
        client(alone).submit("any", " ", turn=new_id())


def test_a_turn_that_is_submitted_twice_runs_once(alone: Role) -> None:
    daemon = client(alone)
    session = daemon.create().id
    first = daemon.submit(session, "hi", turn="t1")
    assert daemon.submit(session, "hi", turn="t1").seq == first.seq
    assert daemon.session(session).turns == 1


def test_a_failed_turn_says_why_and_what_to_do(alone: Role) -> None:
    daemon = client(alone)
    session = daemon.create().id
    bodies = [event.event for event in daemon.follow(session, daemon.submit(session, "hi", turn="t1"))]
    assert isinstance(bodies[0], TurnQueued)
    assert isinstance(bodies[-1], TurnFailed)
    assert (bodies[-1].code, bool(bodies[-1].hint)) == ("lmx_unreachable", True)


def test_only_the_turn_that_is_followed_is_seen(alone: Role) -> None:
    daemon = client(alone)
    session = daemon.create().id
    turns = [daemon.submit(session, "hi", turn=id) for id in ("t1", "t2")]
    assert {event.turn for event in daemon.follow(session, turns[1])} == {"t2"}


def test_a_client_finds_a_daemon_that_was_started_again(alone: Role, start_daemon: Start) -> None:
    now = alone
    daemon = Daemon(lambda: Address(now.url, now.token))
    session = daemon.create().id
    alone.stop()
    now = start_daemon(lmx_url="http://127.0.0.1:9", home=alone.home)
    assert [found.id for found in daemon.sessions()] == [session]


def test_a_token_of_an_earlier_daemon_is_read_anew(alone: Role) -> None:
    tokens = iter(["a token of an earlier daemon", alone.token])
    assert Daemon(lambda: Address(alone.url, next(tokens))).sessions() == []


def test_a_wrong_token_is_refused_for_good(alone: Role) -> None:
    with pytest.raises(Refused) as caught:
        Daemon(lambda: Address(alone.url, "wrong")).sessions()
    assert caught.value.status == 401


def test_text_done_is_the_sum_of_the_deltas(lmx: Role, start_daemon: Start) -> None:
    daemon = client(start_daemon(lmx_url=lmx.url))
    session = daemon.create().id
    bodies = [event.event for event in daemon.follow(session, daemon.submit(session, "hi", turn="t1"))]
    (whole,) = [body.text for body in bodies if isinstance(body, TextDone)]
    assert "".join(body.text for body in bodies if isinstance(body, TextDelta)) == whole
    assert isinstance(bodies[-1], TurnDone)
    assert bodies[-1].text == whole
    assert bodies[-1].usage.completion_tokens > 0


def test_a_cancelled_turn_ends_so(lmx: Role, start_daemon: Start) -> None:
    daemon = client(start_daemon(lmx_url=lmx.url))
    session = daemon.create().id
    for event in daemon.follow(session, daemon.submit(session, "hi", turn="t1")):
        if isinstance(event.event, TextDelta):
            daemon.cancel(session, "t1")
    assert isinstance(event.event, TurnCancelled)
