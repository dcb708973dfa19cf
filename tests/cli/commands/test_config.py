"""`opta config` as a shell runs it; it needs no daemon."""

import json


def test_a_setting_is_set_got_and_unset(stranded):
    file = stranded.home / "opta" / "config.toml"
    file.parent.mkdir(exist_ok=True)
    assert stranded("config", "set", "limits.idle_seconds", "90").returncode == 0
    assert stranded("config", "set", "aliases.fast", '["qwen", "claude/opus"]').returncode == 0
    assert file.read_text() == '[limits]\nidle_seconds = 90\n\n[aliases]\nfast = ["qwen", "claude/opus"]\n'
    assert stranded("config", "get", "limits.idle_seconds").stdout == "90.0\n"
    assert f"limits.idle_seconds\t90.0\t{file}" in stranded("config").stdout.splitlines()
    assert [each["key"] for each in json.loads(stranded("config", "get", "limits", "--json").stdout)] == [
        "limits.connect_seconds",
        "limits.first_token_seconds",
        "limits.idle_seconds",
    ]
    for key in ("limits", "aliases"):
        assert stranded("config", "unset", key).returncode == 0
    assert stranded("config", "get", "limits.idle_seconds").stdout == "600.0\n"


def test_it_says_when_something_else_wins(stranded):
    done = stranded("config", "set", "model", "mine", OPTA_MODEL="theirs")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "model is theirs here all the same: OPTA_MODEL says so.\n"
    assert stranded("config", "get", "model").stdout == "mine\n"
    stranded("config", "unset", "model")


def test_what_is_wrong_is_told_in_a_line(stranded):
    for words, said in (
        (("set", "daemon_port", "many"), "opta: daemon_port: Input should be a valid integer"),
        (("set", "colour", "red"), "opta: colour: there is no such key. Known: lmx_url, "),
        (("get", "colour"), "opta: There is no setting colour. `opta config list` has those there are."),
        (("set", "a b", "1"), "opta: 'a b' is no key."),
    ):
        done = stranded("config", *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(said)
