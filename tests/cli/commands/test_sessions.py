"""`opta sessions` and what is below it, as a script and a person use them."""

import json

import pytest

from tests.cli.commands.conftest import Shell
from tests.cli.commands.terminal import Terminal


@pytest.fixture
def asked(stranded: Shell) -> tuple[Shell, str]:
    """A machine, and the id of a session there. Its turn failed for want of a model: its question is kept."""
    stranded("do", "Where did the *zebra* go?")
    (session,) = stranded.sessions()
    return stranded, session["id"]


def listed(shell: Shell, *words: str) -> list[str]:
    return [each["title"] for each in shell.json("sessions", "list", "--project", str(shell.folder), *words)]


def test_a_session_is_renamed_tagged_and_put_away(asked: tuple[Shell, str]):
    opta, id = asked
    assert opta("sessions", "rename", id[:10], "Animals").stdout == ""
    assert opta.json("sessions", "tag", id, "work", "zoo")["tags"] == ["work", "zoo"]
    assert opta.json("sessions", "tag", id, "late", "-d", "work")["tags"] == ["zoo", "late"]
    assert listed(opta, "--tag", "zoo") == ["Animals"]
    assert opta.json("sessions", "archive", id[:10])[0]["archived"] is True
    assert (listed(opta), listed(opta, "--archived"), listed(opta, "--all")) == ([], ["Animals"], ["Animals"])
    assert opta.json("sessions", "archive", "--undo", id)[0]["archived"] is False


def test_a_session_is_found_by_its_words(asked: tuple[Shell, str]):
    opta, id = asked
    found = opta("sessions", "search", "zebr", "where", "--project", str(opta.folder))
    assert found.stdout.startswith(f"{id}\tWhere did the *zebra* go?\t")
    (hit,) = opta.json("sessions", "search", "the zebra", "--project", str(opta.folder))
    assert hit["session"]["id"] == id
    nothing = opta("sessions", "search", "giraffe")
    assert (nothing.returncode, nothing.stdout) == (1, "")
    assert "Try fewer" in nothing.stderr


def test_a_session_is_forked_and_exported(asked: tuple[Shell, str]):
    opta, id = asked
    new = opta("sessions", "fork", id[:10], "--title", "Two").stdout.strip()
    assert opta.json("sessions", "show", new)["origin"]["session"] == id
    assert opta("sessions", "export", new).stdout.startswith("# Two\n")
    document = json.loads(opta("sessions", "export", new, "--json").stdout)
    assert document["events"][0]["event"]["text"] == "Where did the *zebra* go?"


def test_deleting_asks_a_person_and_needs_a_scripts_yes(asked: tuple[Shell, str]):
    opta, id = asked
    refused = opta("sessions", "delete", id)
    assert (refused.returncode, "--yes" in refused.stderr) == (2, True)
    terminal = Terminal(opta.command("sessions", "delete", id), env=opta.env, cwd=opta.folder)
    terminal.expect("*zebra* go? for good? [y/N]:")
    terminal.type("n\n")
    assert terminal.wait() == 130
    terminal.close()
    assert len(opta.sessions()) == 1
    assert opta("sessions", "delete", "--yes", id[:12]).returncode == 0
    assert opta.sessions() == []


def test_what_is_wrong_is_told_with_what_to_do(stranded: Shell):
    unknown = stranded("sessions", "rename", "nobody", "x")
    assert (unknown.returncode, "`opta sessions`" in unknown.stderr) == (1, True)
    comma = stranded("sessions", "tag", "nobody", "a,b")
    assert comma.returncode != 0
    assert stranded("sessions", "tag", "nobody").returncode == 2
    assert stranded("sessions", "rename", "a/../b", "x").returncode == 1
