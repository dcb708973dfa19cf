"""`opta do`, from the command line through the daemon and LMX to a real model and back."""

import json
import os
import signal
import subprocess
from typing import Any

import pytest


def events(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def kinds(lines: list[dict[str, Any]]) -> list[str]:
    return [line["event"]["type"] for line in lines]


def wait_for(process: "subprocess.Popen[bytes]", kind: str) -> dict[str, Any]:
    """Read JSON lines until one of a kind comes."""
    for raw in process.stdout:
        line: dict[str, Any] = json.loads(raw)
        if line["event"]["type"] == kind:
            return line
    raise AssertionError(f"no {kind}: {process.stderr.read()!r}")


def rest(process: "subprocess.Popen[bytes]") -> tuple[list[dict[str, Any]], bytes]:
    """The lines that are still to come, to the end, and what was said on standard error."""
    with process:
        return events(process.stdout.read().decode()), process.stderr.read()


def test_the_answer_alone_is_on_standard_output(opta):
    done = opta("do", "say", "hello")
    (session,) = opta.sessions()
    stored = opta.json("sessions", "show", session["id"])["messages"]
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.rstrip("\n") == stored[-1]["content"].rstrip("\n") != ""
    assert stored[0] | {"content": "say hello"} == stored[0]
    assert session["cwd"] == str(opta.folder)


def test_json_lines_are_the_daemons_events(opta):
    lines = events(opta("do", "--json", "say hello").stdout)
    assert {line["v"] for line in lines} == {1}
    assert len({(line["session"], line["turn"]) for line in lines}) == 1
    assert [line["seq"] for line in lines] == sorted({line["seq"] for line in lines})
    assert kinds(lines)[:2] == ["turn.queued", "turn.started"]
    assert kinds(lines).count("text.delta") > 1
    text = "".join(line["event"]["text"] for line in lines if line["event"]["type"] == "text.delta")
    assert text == lines[-1]["event"]["text"]
    assert kinds(lines)[-2:] == ["text.done", "turn.done"]


def test_what_is_piped_in_is_context_behind_a_delimiter(opta):
    lines = events(opta("do", "--json", "explain", "this", input=b"a = 1\n").stdout)
    assert lines[0]["event"]["text"] == "explain this\n\n<stdin>\na = 1\n</stdin>"


def test_what_is_piped_in_alone_is_the_prompt(opta):
    lines = events(opta("do", "--json", input="wie geht’s?\n".encode()).stdout)
    assert lines[0]["event"]["text"] == "wie geht’s?"


def test_a_session_is_continued_by_the_beginning_of_its_id(opta):
    opta("do", "one")
    (session,) = opta.sessions()
    assert opta("do", "--session", session["id"][:8], "two").returncode == 0
    (again,) = opta.sessions()
    assert (again["id"], again["turns"]) == (session["id"], 2)


def test_a_new_session_takes_its_system_prompt_model_and_folder(opta, tmp_path_factory):
    folder = tmp_path_factory.mktemp("elsewhere")
    opta("do", "hi", "--system", "Be brief.", "--model", "opta-tiny", "--cwd", str(folder))
    (session,) = opta.at(folder).sessions()
    detail = opta.json("sessions", "show", session["id"])
    assert (detail["system"], detail["model"]) == ("Be brief.", "opta-tiny")


def test_an_empty_prompt_is_misuse(stranded):
    done = stranded("do", "  ")
    assert done.returncode == 2
    assert "prompt is empty" in done.stderr


def test_a_new_sessions_options_do_not_fit_an_old_one(stranded):
    done = stranded("do", "hi", "--session", "a", "--system", "b")
    assert done.returncode == 2
    assert "--system" in done.stderr


def test_input_that_is_not_text_is_misuse(stranded):
    done = stranded("do", "hi", input=b"abc\xff")
    assert done.returncode == 2
    assert "byte 3" in done.stderr


def test_without_lmx_it_names_the_url_and_how_to_start_it(stranded):
    done = stranded("do", "hi")
    assert done.returncode == 4
    assert done.stdout == ""
    assert stranded.env["OPTA_LMX_URL"] in done.stderr
    assert "opta serve" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_unknown_model_has_its_exit_code(opta):
    done = opta("do", "hi", "--model", "nowhere")
    assert done.returncode == 3
    assert "nowhere" in done.stderr
    assert "opta models" in done.stderr


def test_an_unknown_session_is_named(stranded):
    done = stranded("do", "hi", "--session", "../nowhere")
    assert done.returncode == 1
    assert "nowhere" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_and_a_terminal_that_closes_cancel_the_turn_in_the_daemon(patient, number):
    process = patient.start("do", "--json", "hi")
    wait_for(process, "text.delta")
    process.send_signal(number)
    lines, err = rest(process)
    assert (process.returncode, err) == (130, b"")
    assert kinds(lines)[-1] == "turn.cancelled"


def test_a_reader_that_goes_away_cancels_the_turn_quietly(patient):
    process = patient.start("do", "hi")
    assert process.stdout.read(1)
    process.stdout.close()
    assert process.wait() == 141
    assert process.stderr.read() == b""
    process.stderr.close()
    (session,) = patient.sessions()
    assert session["active"] is None


def test_an_answer_that_cannot_be_written_cancels_the_turn_and_is_told(patient):
    with open(os.devnull, "rb") as unwritable:
        process = patient.start("do", "hi", stdout=unwritable)
    assert process.wait() == 1
    assert b"Bad file descriptor" in process.stderr.read()
    process.stderr.close()
    (session,) = patient.sessions()
    events = patient.json("sessions", "export", session["id"])["events"]
    assert events[-1]["event"]["type"] == "turn.cancelled"


def test_a_prompt_that_is_too_long_opens_no_session(opta):
    done = opta("do", input=b"x" * 1_000_001)
    assert (done.returncode, done.stdout) == (2, "")
    assert "1000000 characters" in done.stderr
    assert opta.sessions() == []


def test_a_daemon_that_dies_is_started_again_and_the_turn_told_as_failed(patient):
    process = patient.start("do", "--json", "hi")
    wait_for(process, "text.delta")
    os.kill(patient.json("daemon", "status")["pid"], signal.SIGKILL)
    lines, err = rest(process)
    assert process.returncode == 1
    assert kinds(lines)[-1] == "turn.failed"
    assert b"daemon died" in err


def test_nothing_is_lost_when_the_daemon_stops_in_the_middle(patient):
    process = patient.start("do", "--json", "hi")
    first = wait_for(process, "text.delta")
    patient("daemon", "stop")
    lines = [first, *rest(process)[0]]
    said = "".join(line["event"]["text"] for line in lines if line["event"]["type"] == "text.delta")
    stored = patient.json("sessions", "show", first["session"])["messages"]
    assert lines[-1]["event"]["code"] == "daemon_stopped"
    assert stored[-1]["content"] == said
