"""Choices: flags before the environment before the default, and every problem by its name."""

from pathlib import Path

import pytest

from inference.config import ConfigError, is_loopback, load


def test_a_flag_goes_before_the_environment_before_the_default(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LMX_PORT", "4001")
    monkeypatch.setenv("LMX_HOST", "::1")
    config = load({"port": "4002", "host": None})
    assert (config.port, config.host, config.load_timeout) == (4002, "::1", 600)
    assert config.url == "http://[::1]:4002"


def test_models_lie_in_lmx_home_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv("LMX_MODELS", raising=False)
    monkeypatch.setenv("LMX_HOME", str(tmp_path))
    assert load({}).models == tmp_path / "models"
    assert load({"models": "~/models"}).models == Path.home() / "models"


def test_every_wrong_choice_is_named_where_it_was_made(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LMX_PORT", "70000")
    with pytest.raises(ConfigError) as caught:
        load({"models": "here", "prefix_cache_mb": "-1"})
    assert [line.partition("=")[0] for line in str(caught.value).splitlines()] == [
        "LMX_PORT",
        "--models",
        "--prefix-cache-mb",
    ]


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.9", True), ("::1", True), ("localhost", True)]
    + [
        (host, False)
        for host in ("0.0.0.0", "10.0.0.1", "example.org", "")  # noqa: S104
    ],
)
def test_loopback_is_this_machine_alone(host: str, loopback: bool):
    assert is_loopback(host) is loopback
