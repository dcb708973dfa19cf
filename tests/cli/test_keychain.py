"""Where keys of providers are kept: the system's keychain, or a file of the user's alone."""

from collections.abc import Iterator
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends import fail, null
from keyring.errors import PasswordDeleteError

from cli import keychain


class Memory(KeyringBackend):
    """A keychain that is there."""

    priority = 1

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        if self.kept.pop((service, username), None) is None:
            raise PasswordDeleteError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OPTA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def system() -> Iterator[Memory]:
    before, memory = keyring.get_keyring(), Memory()
    keyring.set_keyring(memory)
    yield memory
    keyring.set_keyring(before)


@pytest.fixture(params=[fail.Keyring, null.Keyring])
def no_system(request: pytest.FixtureRequest) -> Iterator[None]:
    """A system without a keychain, and one whose keychain takes everything and keeps nothing."""
    before = keyring.get_keyring()
    keyring.set_keyring(request.param())
    yield
    keyring.set_keyring(before)


def test_a_key_goes_into_the_systems_keychain_and_nowhere_else(system: Memory, home: Path):
    assert keychain.store("claude", "sk-1") == keychain.KEYCHAIN
    assert keychain.find("claude") == "sk-1"
    assert not keychain.file().exists()
    keychain.forget("claude")
    assert keychain.find("claude") is None
    keychain.forget("claude")
    assert system.kept == {}


def test_without_a_keychain_it_is_a_file_of_the_users_alone_and_that_is_said(no_system, home: Path):
    said = keychain.store("claude", "sk-1")
    assert str(home / "keys.json") in said
    assert "no keychain" in said
    assert (home / "keys.json").stat().st_mode & 0o777 == 0o600
    keychain.store("cloud", "sk-2")
    keychain.store("claude", "sk-3")
    assert (keychain.find("claude"), keychain.find("cloud")) == ("sk-3", "sk-2")
    keychain.forget("claude")
    assert (keychain.find("claude"), keychain.find("cloud")) == (None, "sk-2")
    keychain.forget("cloud")
    assert not (home / "keys.json").exists()


def test_a_key_of_the_file_is_gone_from_it_once_there_is_a_keychain(system: Memory, home: Path):
    keychain.write({"claude": "old"})
    assert keychain.find("claude") == "old"
    keychain.store("claude", "new")
    assert not (home / "keys.json").exists()
    assert keychain.find("claude") == "new"


def test_a_key_that_was_never_kept_is_none(no_system):
    assert keychain.find("nobody") is None


class Haywire(KeyringBackend):
    """A keychain behind a bus that is down: what it raises is no error of the library's."""

    priority = 1

    def get_password(self, service: str, username: str) -> str | None:
        raise ConnectionRefusedError("the bus is down")

    set_password = delete_password = get_password


def test_a_keychain_that_raises_what_it_likes_is_none(home: Path):
    before = keyring.get_keyring()
    keyring.set_keyring(Haywire())
    try:
        assert "keys.json" in keychain.store("claude", "sk-1")
        assert keychain.find("claude") == "sk-1"
        keychain.forget("claude")
        assert keychain.find("claude") is None
    finally:
        keyring.set_keyring(before)


def test_a_file_that_holds_no_keys_is_named_and_left_alone(no_system, home: Path):
    home.mkdir()
    keychain.file().write_text("sk-1")
    for act in (lambda: keychain.find("claude"), lambda: keychain.store("claude", "sk-2")):
        with pytest.raises(OSError, match=r"keys\.json"):
            act()
    assert keychain.file().read_text() == "sk-1"
