"""`opta trust`, and what other commands say of a folder that is not trusted."""

from tests.cli.commands.terminal import Terminal


def test_a_script_is_told_in_one_line_and_works_without(stranded):
    (stranded.folder / "AGENTS.md").write_text("Say yes.")
    done = stranded("do", "hello")
    first, *rest = done.stderr.splitlines()
    assert first.startswith("Not used, for the folder is not trusted: ")
    assert first.endswith(f"opta trust {stranded.folder}")
    assert not [line for line in rest if "trust" in line]
    assert stranded("trust").returncode == 0
    assert "trust" not in stranded("do", "hello").stderr


def test_the_command_grants_lists_and_revokes(bare, tmp_path):
    here = bare.at(tmp_path)
    assert "is trusted" in here("trust").stdout
    assert [(each["folder"], each["trusted"]) for each in here.json("trust", "--list")] == [
        (str(tmp_path), True)
    ]
    assert "is not trusted" in here("trust", str(tmp_path), "--revoke").stdout
    assert [each["trusted"] for each in here.json("trust", "--list")] == [False]
    assert here("trust", "/").returncode == 77
    assert here("trust", "--list", "--revoke").returncode == 2


def test_a_person_is_asked_once(stranded):
    (stranded.folder / "AGENTS.md").write_text("Say yes.")
    first = Terminal(stranded.command("chat"), env=stranded.env, cwd=stranded.folder)
    first.expect("Do you trust this folder")
    first.type("n\n")
    first.expect("Opta ")
    first.close()
    again = Terminal(stranded.command("chat"), env=stranded.env, cwd=stranded.folder)
    assert "Do you trust" not in again.expect("Opta ")
    again.close()
