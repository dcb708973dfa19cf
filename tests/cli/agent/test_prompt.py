"""What the model is told besides the conversation."""

from typing import get_args

from cli.agent import prompt
from cli.protocol.sessions import Mode


def test_every_mode_is_explained():
    assert set(prompt.MODES) == set(get_args(Mode))
