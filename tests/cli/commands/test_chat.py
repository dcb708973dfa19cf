"""`opta chat` as a person uses it, at a terminal; and as a pipe does."""

import stat
from collections.abc import Callable, Iterator

import pytest

from tests.cli.commands.terminal import Terminal

CTRL_C, CTRL_D, ENTER, ALT_ENTER = "\x03", "\x04", "\r", "\x1b\r"
PROMPT = "›"
Open = Callable[..., Terminal]


@pytest.fixture
def chat() -> Iterator[Open]:
    """chat(shell, *words): `opta chat` at a terminal, its first prompt shown."""
    opened: list[Terminal] = []

    def open_chat(shell, *words: str) -> Terminal:
        terminal = Terminal(shell.command("chat", *words), env=shell.env, cwd=shell.folder)
        opened.append(terminal)
        terminal.expect(PROMPT)
        return terminal

    yield open_chat
    for terminal in opened:
        terminal.close()


def test_a_turn_and_another_are_one_session(opta, chat):
    terminal = chat(opta)
    terminal.type("hello" + ENTER)
    terminal.expect("tokens in")
    terminal.expect(PROMPT)
    terminal.type("more" + ENTER)
    terminal.expect("tokens in")
    terminal.type("/exit" + ENTER)
    assert terminal.wait() == 0
    (session,) = opta.sessions()
    assert (session["turns"], session["title"], session["cwd"]) == (2, "hello", str(opta.folder))


def test_new_begins_another_session(opta, chat):
    terminal = chat(opta)
    terminal.type("one" + ENTER)
    terminal.expect("tokens in")
    terminal.type("/new" + ENTER)
    terminal.expect("new session")
    terminal.type("two" + ENTER)
    terminal.expect("tokens in")
    assert [session["title"] for session in opta.sessions()] == ["two", "one"]


def test_ctrl_c_cancels_the_turn_and_not_the_program(patient, chat):
    terminal = chat(patient)
    terminal.type("tell me" + ENTER)
    terminal.expect("over")  # the tiny model is fond of the syllable
    terminal.type(CTRL_C)
    terminal.expect("Cancelled.")
    terminal.expect(PROMPT)
    terminal.type("/exit" + ENTER)
    assert terminal.wait() == 0
    (session,) = patient.sessions()
    assert session["active"] is None


def test_ctrl_c_at_an_empty_prompt_hints_at_the_way_out(stranded, chat):
    terminal = chat(stranded)
    terminal.type("half a line" + CTRL_C)
    terminal.type(CTRL_C + CTRL_C)
    terminal.expect("/exit or Ctrl-D leaves.")
    terminal.expect(PROMPT)
    terminal.type(CTRL_D)
    assert terminal.wait() == 0
    assert stranded.sessions() == []


def test_ctrl_c_at_a_question_does_nothing_and_goes_back_to_the_prompt(opta, chat):
    terminal = chat(opta)
    terminal.type(f"say hello{ENTER}")
    terminal.expect("tokens in")
    terminal.expect(PROMPT)
    terminal.type(f"/delete{ENTER}")
    terminal.expect("[y/N]")
    terminal.type(CTRL_C + ENTER)  # readline sees a signal that came just before it with the next key
    terminal.expect("Nothing was done.")
    terminal.expect(PROMPT)
    assert len(opta.sessions()) == 1


def test_a_configuration_that_became_wrong_is_told_and_the_conversation_goes_on(stranded, chat):
    terminal = chat(stranded)
    file = stranded.home / "opta" / "config.toml"
    file.write_text("model = 5")
    terminal.type(f"hi{ENTER}")
    terminal.expect("model: ")
    terminal.expect(PROMPT)
    file.unlink()


def test_a_failed_turn_is_told_and_the_conversation_goes_on(stranded, chat):
    terminal = chat(stranded)
    terminal.type("hello" + ENTER)
    terminal.expect("LMX cannot be reached")
    terminal.expect("opta serve")
    terminal.expect(PROMPT)
    terminal.type("/modle" + ENTER)
    terminal.expect("Did you mean /model?")


def test_the_daemon_may_restart_between_turns(opta, chat):
    terminal = chat(opta)
    terminal.type("one" + ENTER)
    terminal.expect("tokens in")
    opta("daemon", "stop")
    terminal.type("two" + ENTER)
    terminal.expect("tokens in")
    (session,) = opta.sessions()
    assert session["turns"] == 2


def test_a_model_is_chosen_by_its_name(opta, chat):
    terminal = chat(opta)
    terminal.type("/model opta-tinny" + ENTER)
    terminal.expect("Did you mean opta-tiny?")
    terminal.type("/model opta-tiny" + ENTER)
    terminal.expect("opta-tiny answers from now on.")


def test_the_last_session_of_this_folder_is_resumed(opta, chat):
    opta("do", "remember me")
    terminal = chat(opta, "--resume")
    terminal.type("again" + ENTER)
    terminal.expect("tokens in")
    (session,) = opta.sessions()
    assert session["turns"] == 2


def test_a_message_may_have_several_lines(stranded, chat):
    terminal = chat(stranded)
    terminal.type("one\\" + ENTER + "two" + ALT_ENTER + "three" + ENTER)
    terminal.expect("LMX cannot be reached")
    (session,) = stranded.sessions()
    assert session["title"] == "one"
    history = stranded.home / "opta" / "history"
    assert [line[1:] for line in history.read_text().splitlines() if line.startswith("+")][-3:] == [
        "one",
        "two",
        "three",
    ]
    assert stat.S_IMODE(history.stat().st_mode) == 0o600


def test_a_pipe_gets_plain_text(opta):
    done = opta("chat", input=b"hello\n/exit\nnever asked\n")
    (session,) = opta.sessions()
    answer = opta.json("sessions", "show", session["id"])["messages"][-1]["content"]
    assert (done.returncode, done.stdout.strip(), session["turns"]) == (0, answer.strip(), 1)


def test_a_pipe_learns_of_a_failure_by_the_exit_code(stranded):
    done = stranded("chat", input=b"hello\n")
    assert (done.returncode, done.stdout) == (4, "")
    assert stranded.env["OPTA_LMX_URL"] in done.stderr


def test_a_model_called_like_markup_is_only_a_name(opta, chat):
    terminal = chat(opta, "-m", "[/x]")
    terminal.type("hi" + ENTER)
    terminal.expect("No model '[/x]'")
