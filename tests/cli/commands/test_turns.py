"""What is hard to hit from outside: Ctrl-C at a bad moment; and how a tool call is told of."""

import signal
import threading

import pytest

from cli.commands.turns import ASIDE, aside, cancelling
from cli.protocol.events import AnyBody, ContextCompacted, ContextWarning, TextDelta, ToolDone, ToolStarted


def test_ctrl_c_before_the_turn_is_submitted_cancels_it_right_after():
    order, cancelled = [], threading.Event()

    def cancel() -> None:
        order.append("cancel")
        cancelled.set()

    with cancelling(cancel) as submitted:
        signal.raise_signal(signal.SIGINT)
        order.append("submit")
        submitted.set()
        assert cancelled.wait(5)
    assert order == ["submit", "cancel"]


LONG = ToolStarted(call="1", name="write_file", arguments={"path": "a", "text": "line\n" * 9000})


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (ToolStarted(call="1", name="list_dir", arguments={}), "· list_dir"),
        (
            ToolStarted(call="1", name="read_file", arguments={"path": "ä b.txt", "first_line": 3}),
            '· read_file path="ä b.txt" first_line=3',
        ),
        (ToolDone(call="1", name="grep", ok=True, result="a.py:1: x"), ""),
        (ToolDone(call="1", name="grep", ok=False, result="No.\nNever."), "· grep failed: No. Never."),
        (TextDelta(text="hi"), ""),
        (
            ContextCompacted(room=1, messages=9, before=7900, after=3200, window=8192, exact=True),
            "· shortened what was said before, to fit the window: 7900 → 3200 tokens",
        ),
        (ContextWarning(message="It reads half of it.", window=2048), "· It reads half of it."),
    ],
)
def test_what_happens_beside_the_answer_is_told_in_one_line(body: AnyBody, line: str):
    assert aside(body) == line


def test_a_long_tool_call_is_told_of_in_one_line_all_the_same():
    line = aside(LONG)
    assert (len(line), "\n" in line, line[-1]) == (ASIDE, False, "…")
