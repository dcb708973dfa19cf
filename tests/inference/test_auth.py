"""Who may ask: LMX's own names, and pages that are not a stranger's."""

import httpx
import pytest

from inference.api.auth import called, known
from inference.config import Config
from tests.processes import Role


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1234", "127.0.0.1:80", "[::1]:1234"])
def test_loopback_may_be_called_by_its_names(lmx: Role, host: str):
    assert httpx.get(f"{lmx.url}/v1/models", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "192.168.1.5", "localhost.", ""])
def test_a_name_that_was_rebound_is_refused(lmx: Role, host: str):
    response = httpx.get(f"{lmx.url}/v1/models", headers={"Host": host})
    assert response.status_code == 403
    assert response.json()["error"]["code"] == "host_refused"


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost.evil.example", "file://", ""]
)
def test_a_strangers_page_is_refused(lmx: Role, origin: str):
    response = httpx.post(f"{lmx.url}/v1/chat/completions", headers={"Origin": origin}, content=b"{}")
    assert response.status_code == 403
    assert response.json()["error"]["code"] == "origin_refused"


PAGE = {"Origin": "http://localhost:3000"}


def test_a_page_of_this_machine_is_let_in_and_may_read_the_answer(lmx: Role):
    for path, status in (("/v1/models", 200), ("/v1/models/none", 404)):
        response = httpx.get(lmx.url + path, headers=PAGE)
        assert (response.status_code, response.headers["Vary"]) == (status, "Origin")
        assert response.headers["Access-Control-Allow-Origin"] == PAGE["Origin"]
    assert "Access-Control-Allow-Origin" not in httpx.get(f"{lmx.url}/v1/models").headers


def test_a_browser_that_asks_whether_a_page_may_is_told(lmx: Role):
    """As it does before it sends JSON or a key."""
    asked = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    told = httpx.options(f"{lmx.url}/v1/chat/completions", headers={**PAGE, **asked})
    assert told.status_code == 204
    assert told.headers["Access-Control-Allow-Origin"] == PAGE["Origin"]
    assert told.headers["Access-Control-Allow-Methods"] == "POST"
    assert told.headers["Access-Control-Allow-Headers"] == "authorization,content-type"
    stranger = httpx.options(
        f"{lmx.url}/v1/chat/completions", headers={"Origin": "https://evil.example", **asked}
    )
    assert stranger.status_code == 403
    assert "Access-Control-Allow-Origin" not in stranger.headers


OPEN = Config(models="/models", host="0.0.0.0", hosts="studio.lan, other.lan")  # noqa: S104


def test_beyond_loopback_it_is_called_by_addresses_and_listed_names():
    names = ("192.168.1.5", "fe80::1", "studio.lan", "other.lan", "localhost")
    assert all(called(name, OPEN) for name in names)
    assert not called("evil.example", OPEN)
    assert not called("", OPEN)


def test_beyond_loopback_a_page_from_an_address_is_still_a_stranger():
    assert known("studio.lan", OPEN)
    assert not known("203.0.113.5", OPEN)
