"""The words of a chat: each runs an operation on the session it is in."""

from collections.abc import Iterator

import pytest

from cli.operations.slashes import SLASHES
from tests.cli.commands.terminal import Terminal

ENTER, PROMPT = "\r", "›"


@pytest.fixture
def chat(stranded) -> Iterator[Terminal]:
    """A chat with a session in it; no model answers."""
    terminal = Terminal(stranded.command("chat"), env=stranded.env, cwd=stranded.folder)
    terminal.expect(PROMPT)
    terminal.type("hello" + ENTER)
    terminal.expect("LMX cannot be reached")
    terminal.expect(PROMPT)
    yield terminal
    terminal.close()


def test_a_session_is_renamed_archived_and_copied_where_it_is(stranded, chat):
    for words, shown in (
        ("/rename A better name", "A better name\r\n"),
        ("/archive", "A better name · in the archive"),
        ("/fork", "Going on in a copy"),
        ("/rename The copy", "The copy\r\n"),
        ("/context", "kept for the answer"),
        ("/config", "OPTA_LMX_URL"),
        ("/export", "Forked from:"),
    ):
        chat.type(words + ENTER)
        chat.expect(shown)
    chat.type("/exit" + ENTER)
    assert chat.wait() == 0
    listed = stranded.json("sessions", "list", "--all")
    here = {each["title"]: each for each in listed if each["cwd"] == str(stranded.folder)}
    assert here.keys() == {"A better name", "The copy"}
    assert here["A better name"]["archived"]
    assert here["The copy"]["origin"]["session"] == here["A better name"]["id"]


def test_a_session_is_deleted_only_after_a_yes(stranded, chat):
    chat.type("/delete" + ENTER)
    chat.expect("gone for good. Go on?")
    chat.type("n" + ENTER)
    chat.expect("Nothing was done.")
    assert len(stranded.sessions()) == 1
    chat.expect(PROMPT)
    chat.type("/delete" + ENTER)
    chat.expect("Go on?")
    chat.type("y" + ENTER)
    chat.expect("the next message opens a new one")
    assert stranded.sessions() == []
    chat.type("/rename what" + ENTER)
    chat.expect("There is no session yet.")


def test_help_lists_every_word(chat):
    chat.type("/help" + ENTER)
    told = chat.expect("begins a new one.")
    assert [word for word in SLASHES if f"/{word} " not in told] == []


def test_a_pipe_deletes_nothing(stranded):
    done = stranded("chat", input=b"hello\n/delete\n")
    assert done.returncode != 0
    assert len(stranded.sessions()) == 1
