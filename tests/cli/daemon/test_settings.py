"""`/v3/config`: the settings as the daemon has them, changed while it runs."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cli.daemon.conftest import V3, body
from tests.processes import Role
from tests.scripted import Scripted, says

Found = dict[str, Any]


@dataclass(frozen=True)
class Stored:
    """The settings as they are written down."""

    path: Path

    @property
    def text(self) -> str:
        return self.path.read_text()

    def write(self, text: str) -> None:
        self.path.write_text(text)


@pytest.fixture
def file(standing: tuple[Role, int]) -> Iterator[Stored]:
    """Those of the user whose daemon stands."""
    file = Stored(standing[0].home / "config.toml")
    file.write("# mine\nlmx_discovery = false # not here\n")
    yield file
    file.path.unlink()


async def settings(v3: V3, **query: str) -> dict[str, Found]:
    answer = (await v3.http.get("/v3/config", params=query)).raise_for_status().json()
    return {each["key"]: each for each in answer["settings"]}


async def test_a_change_is_written_and_holds_at_once(standing_v3: V3, standing_model: Scripted, file: Stored):
    assert (await standing_v3.http.get("/v1/models")).json()["error"]["code"] == "openai_api_off"
    answer = await standing_v3.http.patch(
        "/v3/config", json={"openai_api": True, "aliases": {"it": ["auto"]}}
    )
    assert answer.raise_for_status().json()["restart"] == []
    assert file.text.startswith("# mine\nlmx_discovery = false # not here\nopenai_api = true\n")
    assert (await standing_v3.http.get("/v1/models")).status_code == 200
    standing_model.will(*says("so it is"))
    session = await standing_v3.create(model="it")
    await standing_v3.submit(session, "who?")
    assert body((await standing_v3.settled(session))[-1])["text"] == "so it is"
    assert (await settings(standing_v3))["aliases.it"]["source"] == "file"
    await standing_v3.http.patch("/v3/config", json={"openai_api": None})
    assert (await standing_v3.http.get("/v1/models")).status_code == 404
    assert (await settings(standing_v3))["openai_api"]["source"] == "default"


async def test_it_says_what_wins_over_the_file_and_what_waits_for_a_start(standing_v3: V3, file: Stored):
    change = {"daemon_port": 8123, "lmx_url": "http://127.0.0.1:4"}
    answer = (await standing_v3.http.patch("/v3/config", json=change)).raise_for_status().json()
    assert answer["restart"] == ["daemon_port"]
    found = await settings(standing_v3)
    for key, variable in (("daemon_port", "OPTA_DAEMON_PORT"), ("lmx_url", "OPTA_LMX_URL")):
        assert (found[key]["source"], found[key]["where"]) == ("environment", variable)
        assert found[key]["value"] != change[key]
    assert found["lmx_discovery"] == {
        "key": "lmx_discovery",
        "value": False,
        "source": "file",
        "where": str(file.path),
        "restart": False,
    }


async def test_an_untrusted_project_has_no_say(standing_v3: V3, file: Stored, tmp_path: Path):
    (tmp_path / ".opta").mkdir()
    (tmp_path / ".opta" / "config.toml").write_text('model = "theirs"\n')
    assert (await settings(standing_v3, cwd=str(tmp_path)))["model"]["value"] == "auto"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"colour": "red"}, "colour"),
        ({"daemon_port": "80"}, "daemon_port"),
        ({"limits": {"idle_seconds": 0}}, "limits.idle_seconds"),
        ({"limits": {"patience": 3}}, "limits.patience"),
        ({"providers": {"Cloud!": {"url": "https://x.example"}}}, "providers.Cloud!.[key]"),
        ({}, "body"),
    ],
)
async def test_what_is_no_setting_is_refused_by_its_name(
    standing_v3: V3, file: Stored, change: Found, field: str
):
    before = file.text
    answer = await standing_v3.http.patch("/v3/config", json=change)
    assert (answer.status_code, answer.json()["field"]) == (400, field)
    assert file.text == before


@pytest.mark.parametrize("cwd", ["/no/such", "/" + "x" * 300, "/a\x00b", "here"])
async def test_a_folder_that_is_none_is_refused(standing_v3: V3, cwd: str):
    answer = await standing_v3.http.get("/v3/config", params={"cwd": cwd})
    assert (answer.status_code, answer.json()["field"]) == (400, "cwd")


async def test_a_broken_file_is_told_and_kept(standing_v3: V3, file: Stored):
    file.write("model = ")
    for answer in (
        await standing_v3.http.get("/v3/config"),
        await standing_v3.http.patch("/v3/config", json={"model": "x"}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "config_broken")
        assert str(file.path) in answer.json()["detail"]
    assert file.text == "model = "


async def test_changes_at_once_lose_nothing(standing_v3: V3, file: Stored):
    patches = [{"aliases": {f"a{n}": ["auto"]}} for n in range(20)]
    answers = await asyncio.gather(*(standing_v3.http.patch("/v3/config", json=each) for each in patches))
    assert {answer.status_code for answer in answers} == {200}
    found = await settings(standing_v3)
    assert {key for key in found if key.startswith("aliases.")} == {f"aliases.a{n}" for n in range(20)}
    assert file.text.startswith("# mine\nlmx_discovery = false # not here\n")


async def test_a_providers_key_is_nowhere_in_the_settings(standing_v3: V3, file: Stored):
    keys = Stored(file.path.with_name("keys.json"))
    keys.write('{"cloud": "sk-secret"}')
    await standing_v3.http.patch("/v3/config", json={"providers": {"cloud": {"url": "https://x.example"}}})
    answer = await standing_v3.http.get("/v3/config")
    assert "x.example" in answer.text
    assert "sk-secret" not in answer.text
