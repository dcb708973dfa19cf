"""`opta operations`: the table as a shell has it."""

import json

from cli.operations.table import OPERATIONS


def test_all_of_them_are_listed_without_a_daemon(bare):
    listed = bare("operations").stdout.splitlines()
    assert [line.split("\t")[0] for line in listed] == list(OPERATIONS)
    assert "session.delete\tdangerous\tDelete a session." in listed
    shown = json.loads(bare("operations", "show", "turn.submit").stdout)
    assert shown["input"]["required"] == ["session", "text"]
    assert not bare.daemon_files.exists()


def test_one_is_run_and_a_dangerous_one_is_confirmed(stranded):
    made = stranded("operations", "run", "session.create", "title=Mine", 'tags:=["x"]')
    session = json.loads(made.stdout)
    assert (session["title"], session["tags"]) == ("Mine", ["x"])
    refused = stranded("operations", "run", "session.delete", f"session={session['id']}")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "Nobody is here to confirm that." in refused.stderr
    done = stranded("operations", "run", "session.delete", f"session={session['id']}", "--yes")
    assert (done.returncode, done.stdout) == (0, "")
    assert stranded("operations", "run", "session.show", f"session={session['id']}").returncode == 1


def test_a_secret_is_taken_from_standard_input_alone(bare):
    bare.env["PYTHON_KEYRING_BACKEND"] = "keyring.backends.fail.Keyring"
    words = ("operations", "run", "provider.add", "--yes", "name=cloud", "url=https://a.example")
    refused = bare(*words, "key=sk-1")
    assert (refused.returncode, "key=- and give it on standard input" in refused.stderr) == (2, True)
    assert bare(*words, "key=-", input=b"sk-2\n").returncode == 0
    assert json.loads((bare.home / "opta" / "keys.json").read_text()) == {"cloud": "sk-2"}


def test_what_is_wrong_is_told_in_a_line(stranded):
    for words, said in (
        (("session.delete",), "opta: session: Field required."),
        (("session.list", "limit=3"), "opta: limit: Input should be a valid integer."),
        (("session.list", "limit"), "opta: 'limit' is no FIELD=TEXT and no FIELD:=JSON."),
        (("session.list", "limit:=x"), "opta: 'limit:=x': what is behind := is not JSON."),
        (("session.burn",), "opta: Invalid value for 'ID'"),
    ):
        done = stranded("operations", "run", *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(said)
