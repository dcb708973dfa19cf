"""Events as messages: what a model reads is valid however a turn ended."""

from datetime import UTC, datetime

from cli.agent.history import REPEATABLE, UNKNOWN, messages
from cli.protocol.events import (
    AnyBody,
    Event,
    TextDone,
    ToolDone,
    ToolStarted,
    TurnCancelled,
    TurnQueued,
    TurnStarted,
)
from cli.protocol.messages import Message, ToolCall


def events(*said: tuple[str, AnyBody]) -> list[Event]:
    now = datetime.now(UTC)
    return [Event(seq=seq, turn=turn, time=now, event=body) for seq, (turn, body) in enumerate(said, 1)]


def test_turns_come_in_the_order_of_the_queue_however_their_events_mix():
    said = messages(
        events(
            ("a", TurnQueued(text="one")),
            ("b", TurnQueued(text="two")),
            ("a", TurnStarted(model="m")),
            ("c", TurnQueued(text="never said")),
            ("a", TextDone(text="1")),
            ("b", TextDone(text="2")),
        )
    )
    assert [(m.role, m.content) for m in said] == [
        ("user", "one"), ("assistant", "1"), ("user", "two"), ("assistant", "2"),
    ]  # fmt: skip


def test_every_call_has_one_result_also_when_the_turn_was_cut_off():
    said = messages(
        events(
            ("a", TurnQueued(text="go")),
            ("a", TextDone(text="Look:")),
            ("a", ToolStarted(call="1", name="ls", arguments={"path": "."})),
            ("a", ToolStarted(call="2", name="rm", arguments={})),
            ("a", ToolStarted(call="3", name="cat", arguments={}, mutates=False)),
            ("a", ToolDone(call="1", name="ls", ok=True, result="x")),
            ("a", TurnCancelled()),
        )
    )
    calls = (
        ToolCall(id="1", name="ls", arguments='{"path": "."}'),
        ToolCall(id="2", name="rm"),
        ToolCall(id="3", name="cat"),
    )
    assert said == [
        Message(role="user", content="go"),
        Message(role="assistant", content="Look:", calls=calls),
        Message(role="tool", content="x", call="1"),
        Message(role="tool", content=UNKNOWN, call="2"),
        Message(role="tool", content=REPEATABLE, call="3"),
    ]


def test_rounds_without_text_keep_their_calls_apart():
    said = messages(
        events(
            ("a", TurnQueued(text="go")),
            ("a", ToolStarted(call="1", name="x", arguments={})),
            ("a", ToolDone(call="1", name="x", ok=True, result="1")),
            ("a", ToolStarted(call="2", name="x", arguments={})),
            ("a", ToolDone(call="2", name="x", ok=True, result="2")),
            ("a", TextDone(text="done")),
        )
    )
    assert [m.role for m in said] == ["user", "assistant", "tool", "assistant", "tool", "assistant"]
