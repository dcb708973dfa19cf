"""The user's choices: which source wins, and how a wrong one is named."""

from pathlib import Path

import pytest

from cli import config, trust


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OPTA_HOME", str(tmp_path / "home"))
    for name in ("OPTA_LMX_URL", "OPTA_DAEMON_PORT", "OPTA_MODEL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def project(home: Path, tmp_path: Path) -> Path:
    (tmp_path / "work" / ".opta").mkdir(parents=True)
    (tmp_path / "work" / "src").mkdir()
    trust.grant(tmp_path / "work")
    return tmp_path / "work"


def test_it_has_defaults(home):
    assert config.load() == config.Config(lmx_url="http://127.0.0.1:1234", daemon_port=9999, model="auto")


def test_each_source_beats_the_ones_below_it(home, project, monkeypatch):
    (home / "config.toml").write_text('model = "user"\nlmx_url = "http://lan:1"\n')
    assert config.load().model == "user"
    (project / ".opta" / "config.toml").write_text('model = "project"\n')
    assert config.load(project / "src").model == "project"
    assert config.load(project).lmx_url == "http://lan:1"
    assert config.load().model == "user"
    monkeypatch.setenv("OPTA_MODEL", "environment")
    assert config.load(project).model == "environment"
    assert config.load(project, model="flag").model == "flag"
    assert config.load(project, model=None).model == "environment"


def test_the_users_file_is_not_a_project_of_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("OPTA_HOME", str(tmp_path / ".opta"))
    (tmp_path / ".opta").mkdir()
    (tmp_path / ".opta" / "config.toml").write_text("daemon_port = 7777\n")
    assert config.load(tmp_path).daemon_port == 7777


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('colour = "red"', "colour: there is no such key"),
        ('daemon_port = "9999"', "daemon_port: "),
        ("daemon_port = 0", "daemon_port: "),
        ('lmx_url = "ftp://x"', "lmx_url: "),
        ('lmx_url = "http://[::1"', "lmx_url: "),
        ('lmx_url = "http://h:99999"', "lmx_url: "),
        ('lmx_url = "http://:1234"', "lmx_url: "),
        ('lmx_url = "http://a\\u0011b"', "lmx_url: "),
        ('lmx_url = "http://größe"', "lmx_url: "),
        ("model = ", "Invalid value"),
        ('model = ""', "model: "),
    ],
)
def test_a_wrong_file_is_named_with_its_key(home, text, key):
    (home / "config.toml").write_text(text)
    with pytest.raises(config.ConfigError) as caught:
        config.load()
    assert str(home / "config.toml") in str(caught.value)
    assert key in str(caught.value)


def test_every_problem_is_named(home):
    (home / "config.toml").write_text("daemon_port = 0\nmodel = 5\n")
    with pytest.raises(config.ConfigError, match=r"(?s)daemon_port: .*model: "):
        config.load()


def test_a_wrong_variable_is_named(home, monkeypatch):
    monkeypatch.setenv("OPTA_DAEMON_PORT", "high")
    with pytest.raises(config.ConfigError, match="OPTA_DAEMON_PORT"):
        config.load()


def test_a_wrong_flag_is_named(home):
    with pytest.raises(config.ConfigError, match="command line: lmx_url"):
        config.load(lmx_url="nonsense")


def test_a_project_does_not_decide_where_prompts_go(home, project):
    (project / ".opta" / "config.toml").write_text('lmx_url = "http://evil.example"\n')
    with pytest.raises(config.ConfigError, match="a project may not set it"):
        config.load(project)


def test_a_project_does_not_choose_a_model_that_is_elsewhere(home, project):
    (home / "config.toml").write_text(
        '[providers.cloud]\nurl = "https://a.example"\n[aliases]\nfast = ["cloud/x"]\n'
    )
    for model in ("cloud/big", "fast"):
        (project / ".opta" / "config.toml").write_text(f'model = "{model}"\n')
        with pytest.raises(config.ConfigError, match=f"may not send prompts to {model}"):
            config.load(project)
        assert config.load(project, model=model).model == model
    (project / ".opta" / "config.toml").write_text('model = "org/cloud"\n')
    assert config.load(project).model == "org/cloud"


def test_a_wrong_provider_is_named_by_its_path(home):
    (home / "config.toml").write_text(
        '[providers.cloud]\nurl = "x"\nkey = "sk-1"\n[limits]\nidle_seconds = 0\n'
    )
    with pytest.raises(config.ConfigError) as caught:
        config.load()
    for path in ("providers.cloud.url", "providers.cloud.key", "limits.idle_seconds"):
        assert f"{path}: " in str(caught.value)


def test_a_file_that_changes_is_read_again_and_a_wrong_one_is_not(home, caplog):
    current = config.Current(config.load())
    assert current() is current()
    (home / "config.toml").write_text('[providers.cloud]\nurl = "https://a.example"\n')
    assert list(current().providers) == ["cloud"]
    (home / "config.toml").write_text("nonsense")
    assert list(current().providers) == ["cloud"]
    assert "config.toml" in caplog.text
    (home / "config.toml").unlink()
    assert current().providers == {}
