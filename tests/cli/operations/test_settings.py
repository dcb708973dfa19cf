"""The user's settings: where each came from, and his file after a change."""

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli import config, trust
from cli.config import ConfigError
from cli.operations import providers, settings, toml
from cli.operations.settings import BrokenFile
from tests.processes import ROOT


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OPTA_HOME", str(tmp_path / "home"))
    # Nothing is kept in the keychain of whoever runs the tests.
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    for name in ("OPTA_LMX_URL", "OPTA_DAEMON_PORT", "OPTA_MODEL", "OPTA_DOMAIN", "OPTA_SITES_PORT"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def sources(cwd: Path | None = None) -> dict[str, tuple[Any, str, str]]:
    return {each.key: (each.value, each.source, each.where) for each in settings.shown(cwd).settings}


def test_each_setting_says_where_it_came_from(home, tmp_path, monkeypatch):
    file, project = home / "config.toml", tmp_path / "work"
    file.write_text('model = "mine"\n[limits]\nidle_seconds = 7\n[aliases]\n"q.5" = ["a"]\n')
    (project / ".opta").mkdir(parents=True)
    (project / ".opta" / "config.toml").write_text('model = "theirs"\n')
    monkeypatch.setenv("OPTA_LMX_URL", "http://10.0.0.9:1")
    found = sources(project)
    assert found["model"] == ("mine", "file", str(file))  # nobody trusts the folder
    assert found["lmx_url"] == ("http://10.0.0.9:1", "environment", "OPTA_LMX_URL")
    assert found["limits.idle_seconds"] == (7, "file", str(file))
    assert found["limits.connect_seconds"] == (5, "default", "")
    assert found['aliases."q.5"'] == (["a"], "file", str(file))
    assert found["openai_api"] == (False, "default", "")
    trust.grant(project)
    assert sources(project)["model"] == ("theirs", "project", str(project / ".opta" / "config.toml"))
    assert sources()["model"][1] == "file"


def test_only_what_the_daemon_reads_at_its_start_waits_for_one(home):
    assert {each.key for each in settings.shown().settings if each.restart} == config.AT_START
    assert settings.change({"model": "a"}) == []
    assert settings.change({"daemon_port": 8888, "model": "b"}) == ["daemon_port"]
    assert settings.change({"daemon_port": 8888}) == []


FILES = [
    "",
    'model = "a"',
    '# mine\n[limits]\nidle_seconds = 5 # five\n\n[aliases]\nfast = [\n  "a/b", # one\n]\n',
    '[providers.other]\nurl = "https://o.example"\n# about the next\n[providers.third]\nurl = "http://t.local"\n',
    'providers = { other = { url = "https://o.example" } } # inline\n',
    '[providers]\nother = { url = "https://o.example" }\nthird.url = "https://t.example" # dotted\n',
    '[providers.other]\nurl = "https://o.example"\n[limits] # between\nidle_seconds = 5\n[providers.third]\n'
    'url = "http://t.local"\n',
]


@pytest.mark.parametrize("text", FILES)
def test_adding_and_removing_a_provider_leaves_the_rest_as_it_was(home, text):
    file = home / "config.toml"
    file.write_text(text)
    file.chmod(0o640)
    before = config.load()
    cloud = config.Provider(url="https://a.example/v1", kind="anthropic")
    providers.add("cloud", cloud, "")
    assert config.load() == before.model_copy(update={"providers": {**before.providers, "cloud": cloud}})
    assert [line for line in text.splitlines() if line not in file.read_text()] == [
        line for line in text.splitlines() if line.startswith("providers =")
    ]
    assert file.stat().st_mode & 0o777 == 0o640
    for name in config.load().providers:
        providers.remove(name)
    assert config.load() == before.model_copy(update={"providers": {}})
    kept = [line for line in text.splitlines() if "#" in line and "url" not in line]
    assert [line for line in kept if line not in file.read_text()] == []


KEYS = st.text("ab.", min_size=1, max_size=2)
VALUES = st.integers(0, 9) | st.booleans() | st.text("x\"'\n#é", max_size=3) | st.lists(st.integers(0, 9))
TABLES = st.recursive(VALUES, lambda inside: st.dictionaries(KEYS, inside, max_size=3), max_leaves=8)
DOCUMENTS = st.dictionaries(KEYS, TABLES, max_size=3)
PATCHES = st.dictionaries(
    KEYS,
    st.recursive(VALUES | st.none(), lambda inside: st.dictionaries(KEYS, inside, max_size=3)),
    max_size=3,
)


@given(DOCUMENTS, PATCHES, PATCHES)
def test_a_file_holds_what_the_patches_say_whatever_they_are(document, first, second):
    text = toml.edited(toml.edited("# mine\n", document), first)
    values = toml.merged(toml.merged({}, document), first)
    assert toml.pruned(tomllib.loads(text)) == toml.pruned(values)
    text = toml.edited(text, second)
    assert toml.pruned(tomllib.loads(text)) == toml.pruned(toml.merged(values, second))
    assert text.startswith("# mine\n")


def test_lines_end_as_they_ended(home):
    (home / "config.toml").write_bytes(b'model = "a" # mine\r\n\r\n[limits]\r\nidle_seconds = 5\r\n')
    settings.change({"model": "b", "limits": {"idle_seconds": 6}})
    stored = (home / "config.toml").read_bytes()
    assert stored == b'model = "b" # mine\r\n\r\n[limits]\r\nidle_seconds = 6\r\n'


def test_a_file_that_is_a_link_stays_one(home, tmp_path):
    (tmp_path / "dotfiles.toml").write_text('model = "a"\n')
    (home / "config.toml").symlink_to(tmp_path / "dotfiles.toml")
    settings.change({"openai_api": True})
    assert (home / "config.toml").is_symlink()
    assert "openai_api = true" in (tmp_path / "dotfiles.toml").read_text()


@pytest.mark.parametrize("text", ["nonsense", 'colour = "red"\n', 'model = "a"\nmodel = "b"\n', "\udcff"])
def test_a_broken_file_is_named_and_never_written_over(home, text):
    file = home / "config.toml"
    file.write_bytes(text.encode(errors="surrogateescape"))
    for ask in (settings.shown, lambda: settings.change({"model": "b"})):
        with pytest.raises(BrokenFile, match=r"config\.toml.*Mend it first"):
            ask()
    assert file.read_bytes() == text.encode(errors="surrogateescape")


def test_a_change_may_mend_what_is_wrong(home):
    (home / "config.toml").write_text("daemon_port = 0 # none\n")
    settings.change({"daemon_port": 8000})
    assert (home / "config.toml").read_text() == "daemon_port = 8000 # none\n"


@pytest.mark.parametrize(
    ("patch", "said"),
    [
        ({"colour": "red"}, "colour: there is no such key"),
        ({"daemon_port": 70000}, "daemon_port: "),
        (
            {"providers": {"lmx": {"url": "https://x.example"}}},
            "cannot be called lmx",
        ),
        ({"providers": {"cloud": {"url": "http://x.example"}}}, "in the clear. Use https"),
        ({"providers": {"cloud": {"kind": "openai"}}}, "providers.cloud.url: "),
        ({"lmx_url": "http://me:secret@lan:1"}, "lmx_url: "),
    ],
)
def test_what_cannot_be_honoured_is_not_written(home, patch, said):
    (home / "config.toml").write_text('model = "a"\n')
    with pytest.raises(ConfigError) as caught:
        settings.change(patch)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)
    assert not isinstance(caught.value, BrokenFile)
    assert (home / "config.toml").read_text() == 'model = "a"\n'


def test_a_disk_that_is_full_leaves_the_file_as_it_was(home):
    """No file of this process may grow beyond what the limit says, which is how a disk says it as well."""
    (home / "config.toml").write_text('model = "a"\n')
    code = (
        "import resource, signal; from cli.operations import settings\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (8, 8))\n"
        "try: settings.change({'model': 'b'})\n"
        "except OSError as error: print(error.strerror)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "File too large\n"
    assert (home / "config.toml").read_text() == 'model = "a"\n'
    assert {file.name for file in home.iterdir()} == {"config.toml", "config.lock"}


def test_changes_of_several_processes_lose_nothing(home):
    """Each writes keys of its own, over and over, beside the others."""
    code = (
        "import sys; from cli.operations import settings\n"
        "for n in range(12): settings.change({'aliases': {f'{sys.argv[1]}{n}': ['m']}})"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, name], cwd=ROOT) for name in "abc"]
    assert [process.wait() for process in running] == [0, 0, 0]
    assert sorted(config.load().aliases) == sorted(f"{name}{n}" for name in "abc" for n in range(12))
    assert {file.name for file in home.iterdir()} == {"config.toml", "config.lock"}
