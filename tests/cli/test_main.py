"""The command line's own manners: quick help, one line for a failure, exit codes."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from cli.main import COMMANDS, main
from cli.output import MEANINGS
from tests.processes import ROOT

HEAVY = {"django", "ninja", "textual", "mlx", "rich", "aiohttp", "pydantic", "prompt_toolkit", "asyncio"}
LOADED = """
import atexit, json, sys
atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))
from cli.main import main
main(prog_name="opta")
"""


def loaded(*words: str) -> set[str]:
    """The top packages that `opta WORDS` imports."""
    done = subprocess.run([sys.executable, "-c", LOADED, *words], cwd=ROOT, capture_output=True, text=True)
    return {name.partition(".")[0] for name in json.loads(done.stderr.splitlines()[-1])}


@pytest.mark.parametrize("words", [["--help"], ["--version"], []])
def test_help_and_version_import_nothing_heavy(words):
    assert loaded(*words) & HEAVY == set()


def test_do_imports_what_it_needs_and_no_more():
    assert loaded("do", "--help") & HEAVY == {"pydantic"}


def test_every_command_of_the_table_is_there():
    for name in COMMANDS:
        result = CliRunner().invoke(main, [name, "--help"])
        assert (result.exit_code, name in result.output) == (0, True)


def test_help_says_what_each_command_does():
    output = CliRunner().invoke(main, ["--help"]).output
    assert all(name in output and line in output for name, (_, line) in COMMANDS.items())


def test_an_unknown_command_gets_the_nearest():
    result = CliRunner().invoke(main, ["chatt"])
    assert result.exit_code == 2
    assert result.stderr == "opta: No such command 'chatt'. Did you mean 'chat'? See `opta --help`.\n"


def test_a_wrong_option_is_told_in_one_line():
    result = CliRunner().invoke(main, ["daemon", "logs", "--lines", "0"])
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert "opta daemon logs --help" in result.stderr


def test_the_exit_codes_stand_in_the_help():
    output = CliRunner().invoke(main, ["do", "--help"]).output
    assert all(f"{code.value}  {meaning}" in output for code, meaning in MEANINGS.items())


def test_a_wrong_environment_is_named():
    result = CliRunner().invoke(main, ["daemon", "status"], env={"OPTA_HOME": "relative"})
    assert (result.exit_code, "OPTA_HOME" in result.stderr) == (2, True)


def test_the_trace_is_for_those_who_ask():
    quiet = CliRunner().invoke(main, ["daemon", "logs"], env={"OPTA_HOME": "relative"})
    loud = CliRunner().invoke(main, ["--debug", "daemon", "logs"], env={"OPTA_HOME": "relative"})
    assert "Traceback" not in quiet.stderr
    assert "Traceback" in loud.stderr


def test_what_the_machine_refuses_is_no_fault_of_ours(tmp_path):
    (tmp_path / "file").touch()
    result = CliRunner().invoke(
        main, ["daemon", "status"], env={"OPTA_HOME": str(tmp_path / "file" / "home")}
    )
    assert result.exit_code == 1
    assert "Not a directory" in result.stderr
    assert "fault" not in result.stderr
