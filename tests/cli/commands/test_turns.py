"""Ctrl-C during a turn, at the moment that is hardest to hit from outside."""

import signal
import threading

from cli.commands.turns import cancelling


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
