"""What the daemon says, as a client of this version reads it."""

import pytest
from pydantic import ValidationError

from cli.clients.daemon import parsed

STAMP = '"seq":1,"turn":"t","time":"2026-01-01T00:00:00Z"'


def test_an_event_of_a_newer_daemon_is_passed_over():
    assert parsed(f'{{{STAMP},"event":{{"type":"turn.dreamt","of":"sheep"}}}}'.encode()) is None
    later = parsed(f'{{{STAMP},"more":1,"event":{{"type":"text.done","text":"x","more":2}}}}'.encode())
    assert later is not None
    assert later.event.type == "text.done"


def test_an_event_that_is_wrong_is_no_newer_one():
    with pytest.raises(ValidationError):
        parsed(f'{{{STAMP},"event":{{"type":"text.done"}}}}'.encode())
