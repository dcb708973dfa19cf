"""`opta permissions`: rules are added, listed and removed by hand."""

from cli.output import Exit


def test_a_rule_is_added_listed_and_removed(bare):
    made = bare("permissions", "add", "deny", "read_file(~/secret/**)")
    assert made.returncode == 0, made.stderr
    (rule,) = bare.json("permissions", "list")
    assert (rule["id"], rule["action"], rule["scope"]) == (made.stdout.strip(), "deny", "user")
    assert rule["where"] == str(bare.home / "opta" / "permissions.json")
    assert bare("permissions", "remove", rule["id"]).returncode == 0
    assert bare.json("permissions", "list") == []
    again = bare("permissions", "remove", rule["id"])
    assert (again.returncode, "There is no rule" in again.stderr) == (Exit.ERROR, True)
    wrong = bare("permissions", "add", "deny", "read file")
    assert (wrong.returncode, "A pattern is" in wrong.stderr) == (Exit.MISUSE, True)


def test_a_rule_of_a_project_needs_its_trust_and_stands_in_its_folder(bare, tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    here = bare.at(project)
    rule = ("permissions", "add", "allow", "run_command(git *)", "--scope", "project")
    refused = here(*rule)
    assert (refused.returncode, "opta trust" in refused.stderr) == (Exit.NOT_PERMITTED, True)
    here("trust")
    assert here(*rule).returncode == 0
    assert "git *" in (project / ".opta" / "permissions.json").read_text()
    assert [each["scope"] for each in here.json("permissions", "list")] == ["project"]
    none = here("permissions", "answer", "abc", "allow")
    assert (none.returncode, "No request that waits begins with 'abc'" in none.stderr) == (Exit.ERROR, True)
    assert here.json("permissions", "requests") == []


def test_a_command_is_judged_without_running_it(bare, tmp_path):
    here = bare.at(tmp_path)
    here("permissions", "add", "allow", "run_command(touch *)")
    said = here.json("permissions", "test", "cat x | sort; touch made; make")
    assert (said["action"], said["reason"]) == ("ask", "No rule is about: make.")
    assert [each["command"] for each in said["commands"]] == ["cat x", "sort", "touch made", "make"]
    allowed = [each["allowed_by"] for each in said["commands"]]
    assert allowed == ["only reads", "only reads", "allow run_command(touch *) (user)", ""]
    assert here("permissions", "test", "touch made && ls").stdout.startswith("allow: ")
    here("permissions", "add", "deny", "run_command(touch *)")
    assert here("permissions", "test", "bash -c 'touch made'").stdout.startswith("deny: ")
    assert "not written out" in here("permissions", "test", "$x").stdout
    assert not (tmp_path / "made").exists()
