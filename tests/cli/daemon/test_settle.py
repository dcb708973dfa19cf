"""What a daemon does at its start: every history is valid, wherever the one before it was cut off."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cli.agent import history
from cli.daemon import settle
from cli.daemon.compaction import BATCH, KEPT, compact
from cli.daemon.models import Event, Session, Turn, facts, store
from cli.protocol import events
from cli.protocol.events import (
    AnyBody,
    ReasoningDelta,
    ReasoningDone,
    SteerTaken,
    TextDelta,
    TextDone,
    ToolDone,
    ToolStarted,
    TurnDone,
    TurnFailed,
    TurnQueued,
    TurnStarted,
    TurnSteered,
    Usage,
)
from tests.cli.histories import lawful

pytestmark = pytest.mark.django_db
DONE = TurnDone(text="", finish_reason="stop", usage=Usage(), seconds=0)


def lived(*bodies: AnyBody, turn: str = "t", state: str = "running") -> Turn:
    """A turn of the session "s" that came so far; its rows are where the last one ended."""
    session, _ = Session.objects.get_or_create(id="s", defaults={"model": "m", "cwd": "/", "system": ""})
    session.refresh_from_db()
    now = datetime.now(UTC)
    batch = [
        events.Event(seq=seq, turn=turn, time=now, event=body)
        for seq, body in enumerate(bodies, session.reserved + 1)
    ]
    made = Turn.objects.create(
        session=session, id=turn, text="go", model="m", state=state, seq=batch[0].seq, created=now
    )
    store("s", batch, batch[-1].seq)
    return made


def told() -> list[AnyBody]:
    return [row.parse().event for row in Event.objects.filter(session_id="s").order_by("seq")]


def test_text_that_was_added_to_does_not_cut_off_what_the_model_was_saying():
    said = [TextDelta(text="Half"), TurnSteered(id="1", text="more"), TextDelta(text=" a word")]
    lived(TurnQueued(text="go"), TurnStarted(model="m"), *said)
    assert settle.settle() == 1
    assert told()[-2] == TextDone(text="Half a word")
    assert [m.content for m in history.messages(facts("s"))] == ["go", "Half a word", "more"]


def test_a_thought_that_was_cut_off_is_kept_as_a_whole():
    lived(
        TurnQueued(text="go"), TurnStarted(model="m"), ReasoningDelta(text="Let "), ReasoningDelta(text="me")
    )
    settle.settle()
    assert told()[-2] == ReasoningDone(text="Let me")


def test_a_call_cut_off_says_whether_it_may_be_made_again():
    lived(
        TurnQueued(text="go"),
        TurnStarted(model="m"),
        ToolStarted(call="1", name="write", arguments={}),
        ToolStarted(call="2", name="read", arguments={}, mutates=False),
        ToolStarted(call="3", name="read", arguments={}, mutates=False),
        ToolDone(call="3", name="read", ok=True, result="x"),
    )
    settle.settle()
    *_, first, second, end = told()
    assert (first.call, first.ok, first.result) == ("1", False, history.UNKNOWN)
    assert (second.call, second.ok, second.result) == ("2", False, history.REPEATABLE)
    assert isinstance(end, TurnFailed)


def test_a_turn_that_had_ended_is_left_as_it_is():
    lived(TurnQueued(text="go"), TurnStarted(model="m"), TextDone(text="ok"), DONE, state="done")
    before = told()
    assert settle.settle() == 0
    assert told() == before


words = st.text("ab ", min_size=1, max_size=3)


@st.composite
def turns(draw: st.DrawFn) -> list[AnyBody]:
    """What a turn says, cut off anywhere: rounds of text and calls, with text added at any moment."""
    said: list[AnyBody] = []
    waiting: list[str] = []
    numbers = iter(range(1000))

    def steer() -> None:
        if draw(st.integers(0, 3)) == 0:
            waiting.append(str(next(numbers)))
            said.append(TurnSteered(id=waiting[-1], text=draw(words)))

    for _ in range(draw(st.integers(1, 4))):
        said += [SteerTaken(id=id) for id in waiting]
        waiting.clear()
        steer()
        calls = [f"c{next(numbers)}" for _ in range(draw(st.integers(0, 3)))]
        if not calls or draw(st.booleans()):
            text = draw(words)
            said.append(TextDelta(text=text))
            steer()
            said.append(TextDone(text=text))
        for id in calls:
            said.append(ToolStarted(call=id, name="x", arguments={}, mutates=draw(st.booleans())))
            steer()
        for id in calls:
            said.append(ToolDone(call=id, name="x", ok=True, result=id))
            steer()
        if not calls and not waiting:
            break
    return said[: draw(st.integers(0, len(said)))]


@given(lives=st.lists(turns(), min_size=1, max_size=3))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_wherever_turns_are_cut_off_their_history_is_lawful(lives: Sequence[Sequence[AnyBody]]):
    Session.objects.all().delete()
    for number, said in enumerate(lives):
        bodies = (named(body, number) for body in said)
        lived(TurnQueued(text="go"), TurnStarted(model="m"), *bodies, turn=f"t{number}")
        lawful(history.messages(facts("s")))
        settle.settle()
        lawful(history.messages(facts("s")))
        assert not any(settle.unfinished(turn) for turn in Turn.objects.all())


def named(body: AnyBody, number: int) -> AnyBody:
    """The loop gives each call an id of its own in its session."""
    if isinstance(body, ToolStarted | ToolDone):
        return body.model_copy(update={"call": f"t{number}.{body.call}"})
    return body


def test_compacting_drops_pieces_of_old_turns_alone():
    for number in range(KEPT + 3):
        pieces = [TextDelta(text="x")] * 3
        lived(TurnQueued(text="go"), *pieces, TextDone(text="xxx"), DONE, turn=f"t{number}", state="done")
    before = told()
    assert not compact("s")
    assert told() == [
        body for place, body in enumerate(before) if place > 3 * 6 or type(body) is not TextDelta
    ]


def test_compacting_leaves_a_turn_that_runs_its_pieces():
    lived(TurnQueued(text="go"), TextDelta(text="x"), turn="old")
    for number in range(KEPT):
        lived(TurnQueued(text="go"), turn=f"t{number}", state="queued")
    compact("s")
    assert TextDelta(text="x") in told()


def test_compacting_goes_in_steps():
    lived(TurnQueued(text="go"), *[TextDelta(text="x")] * (BATCH + 1), DONE, turn="old", state="done")
    for number in range(KEPT):
        lived(TurnQueued(text="go"), turn=f"t{number}", state="queued")
    assert compact("s")
    assert not compact("s")
    assert TextDelta(text="x") not in told()
