"""`opta providers` as a shell runs it."""

import asyncio
import json
import os
import pty
import stat
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.commands.conftest import Shell
from tests.processes import Role, free_port
from tests.scripted import scripted

# The keychain of whoever runs the tests is not theirs to write to.
NO_KEYCHAIN = "keyring.backends.fail.Keyring"
USERS = '# mine\nmodel = "auto"\n\n[limits]\nidle_seconds = 60 # long enough\n'


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "opta").mkdir()
    return tmp_path / "opta"


@pytest.fixture
def opta(tmp_path: Path) -> Shell:
    shell = Shell.make(tmp_path, f"http://127.0.0.1:{free_port()}")
    shell.env["PYTHON_KEYRING_BACKEND"] = NO_KEYCHAIN
    return shell


def test_one_is_added_listed_and_removed_and_the_users_file_is_as_before(opta: Shell, home: Path):
    (home / "config.toml").write_text(USERS)
    url = "https://api.anthropic.com"
    added = opta("providers", "add", "claude", "--kind", "anthropic", "--url", url, input=b"sk-ant-1\n")
    assert added.returncode == 0, added.stderr
    assert str(home / "keys.json") in added.stdout
    assert "no keychain" in added.stdout
    assert "sk-ant-1" not in added.stdout + added.stderr + (home / "config.toml").read_text()
    assert stat.S_IMODE((home / "keys.json").stat().st_mode) == 0o600
    assert (home / "config.toml").read_text().startswith(USERS)
    assert opta.json("providers", "list") == [
        {"name": "claude", "url": url, "kind": "anthropic", "max_output_tokens": 8192}
    ]
    again = opta("providers", "add", "claude", "--url", url, input=b"other")
    assert (again.returncode, "already" in again.stderr) == (2, True)
    assert json.loads((home / "keys.json").read_text()) == {"claude": "sk-ant-1"}
    removed = opta("providers", "remove", "claude")
    assert removed.returncode == 0, removed.stderr
    assert tomllib.loads((home / "config.toml").read_text()) == tomllib.loads(USERS)
    assert "# long enough" in (home / "config.toml").read_text()
    assert not (home / "keys.json").exists()


@pytest.mark.parametrize(
    ("words", "key", "said"),
    [
        (["add", "lmx", "--url", "https://a.example"], b"k", "cannot be called lmx"),
        (["add", "a/b", "--url", "https://a.example"], b"k", "NAME"),
        (["add", "a", "--url", "ftp://a.example"], b"k", "url"),
        (["add", "a", "--url", "https://user:pass@a.example"], b"k", "url"),
        (["add", "a", "--url", "https://[::1"], b"k", "url"),
        (["add", "a", "--url", "http://a.example"], b"k", "in the clear"),
        (["add", "a", "--url", "http://8.8.8.8"], b"k", "in the clear"),
        (["add", "a", "--url", "https://a.example"], b"two words", "no key"),
        (["add", "a", "--url", "https://a.example", "--key", "sk-1"], b"", "No such option"),
        (["remove", "a"], b"", "There are: none"),
        (["test", "a"], b"", "There are: none"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_kept(opta: Shell, home: Path, words, key, said):
    done = opta("providers", *words, input=key)
    assert done.returncode == 2
    assert said in done.stderr
    assert list(home.iterdir()) == []


async def test_each_is_asked_what_it_has(opta: Shell, home: Path):
    async with scripted() as cloud:
        cloud.models = [f"model-{number}" for number in range(10)]

        async def run(*words: str, input: bytes = b""):
            return await asyncio.to_thread(opta, "providers", *words, input=input)

        added = await run("add", "cloud", "--url", cloud.url, input=b"sk-1")
        assert added.returncode == 0, added.stderr
        one = await run("test", "cloud")
        assert (one.returncode, "model-7 and 2 more" in one.stdout) == (0, True)
        assert "authorization: bearer sk-1" in cloud.heads[-1]
        both = await run("test")
        assert both.returncode == 1
        assert "lmx\t" in both.stdout
        assert "opta serve" in both.stdout


def test_a_turn_goes_through_another_api_of_a_real_server(make_shell: Callable[[str], Shell], lmx: Role):
    opta = make_shell(f"http://127.0.0.1:{free_port()}")
    opta.env["PYTHON_KEYRING_BACKEND"] = NO_KEYCHAIN
    config = opta.home / "opta" / "config.toml"
    for name, kind in (("claude", "anthropic"), ("gpt", "openai"), ("studio", "lmx")):
        added = opta("providers", "add", name, "--kind", kind, "--url", lmx.url, input=b"sk-1")
        assert added.returncode == 0, added.stderr
        if kind == "anthropic":  # which the model, untrained, would go on for
            config.write_text(f"{config.read_text()}max_output_tokens = 40\n")
        done = opta("do", "--json", "-m", f"{name}/opta-tiny", "say hello")
        assert done.returncode == 0, done.stderr
        ended = json.loads(done.stdout.splitlines()[-1])["event"]
        assert (ended["type"], ended["model"]) == ("turn.done", "opta-tiny")
        assert ended["usage"]["completion_tokens"] > 0
    alone = opta("do", "-m", "opta-tiny", "say hello")
    assert alone.returncode == 0  # the studio is an LMX, and the one at lmx_url is not there
    assert opta("do", "-m", "lost/opta-tiny", "say hello").returncode == 3


def test_on_a_terminal_the_key_is_not_shown(opta: Shell, home: Path):
    leader, terminal = pty.openpty()
    words = ("providers", "add", "cloud", "--url", "https://a.example")
    process = opta.start(*words, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True)
    os.close(terminal)
    shown = until(leader, b"empty for none")
    os.write(leader, b"sk-hidden\n")
    shown += until(leader, b"keys.json")
    assert process.wait(20) == 0
    os.close(leader)
    assert b"sk-hidden" not in shown
    assert json.loads((home / "keys.json").read_text()) == {"cloud": "sk-hidden"}


def until(leader: int, words: bytes) -> bytes:
    shown = b""
    while words not in shown:
        shown += os.read(leader, 4096)
    return shown
